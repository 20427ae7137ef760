import type * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { type HookFilter, matcher, type StepFilter, stepMatcher } from './filter.ts';

export type { HookFilter, StepFilter } from './filter.ts';

/** Where in the model, and when: `step` counts the decoder's calls in a generation, from 0. */
export interface HookPoint {
  readonly name: string;
  readonly step?: number;
}

/**
 * Sees the activation at a point. What it returns replaces the activation, nothing leaves it as it is.
 * The tensor is disposed after the forward pass: `tf.keep(t.clone())` what must outlive it.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a hook that only reads returns nothing
export type HookFn = (activation: tf.Tensor, point: HookPoint) => tf.Tensor | void;

export interface HookOptions {
  /**
   * Steps of a generation at which the hook runs: one, several, or a test; step 0 makes the first token. Such a hook is
   * silent outside of generations: in the vision tower, the encoder, and under teacher forcing. Default: runs always.
   */
  step?: StepFilter;
  /**
   * The hook only reads: what it returns is not looked at. A part of the network where all hooks do may run as
   * a graph (docs/speed.md), and they are called when it has run. Default false.
   */
  readOnly?: boolean;
}

/** A hook that is there for the time of one call. */
export type ScopedHook = readonly [filter: HookFilter, fn: HookFn, options?: HookOptions];

/** What a module's `forward` is given: hook points below the module's own path. */
export interface Hooks {
  /** The activation itself, or what a hook at this point puts in its place. */
  at<T extends tf.Tensor>(leaf: string, activation: T): T;
  /** Whether a hook is at this point. */
  sees(leaf: string): boolean;
  /** The hooks of a child module; of this one for ''. */
  in(module: string): Hooks;
  /** The same hooks where an activation lies otherwise than hooks are to see it. */
  seen(view: View): Hooks;
  /**
   * Runs a block of the network, with the hooks of the module `in(module)` that it belongs to. Blocks are what gradient
   * checkpointing computes a second time, so `inputs` are all tensors that `forward` uses beside its parameters, and
   * whatever has a gradient lies in some block.
   */
  block<X extends BlockInputs, Y extends tf.Tensor>(
    module: string,
    forward: (h: Hooks, ...inputs: X) => Y,
    ...inputs: X
  ): Y;
}

/** Another form of an activation for hooks, and the way back. It is made where a hook asks for the point. */
export interface View {
  show(activation: tf.Tensor): tf.Tensor;
  restore(shown: tf.Tensor): tf.Tensor;
}

export type BlockInputs = (tf.Tensor | null)[];

/** Runs a block in another way than at once: see training/gradient_checkpointing.ts. */
export type BlockRunner = (
  path: string,
  forward: (...inputs: BlockInputs) => tf.Tensor,
  inputs: BlockInputs,
) => tf.Tensor;

/** No hook anywhere: costs one call for each point. */
export const noHooks: Hooks = {
  at: (_leaf, activation) => activation,
  sees: () => false,
  in: () => noHooks,
  seen: () => noHooks,
  block: (_module, forward, ...inputs) => forward(noHooks, ...inputs),
};

interface Entry {
  readonly matches: (name: string) => boolean;
  readonly runsAt: (step: number | undefined) => boolean;
  readonly readOnly: boolean;
  readonly fn: HookFn;
}

/** The hooks of one model, in the order in which they were added. */
export class HookRegistry {
  private readonly entries = new Set<Entry>();

  /** Calls `fn` at every point that `filter` names. Returns the function that removes it. */
  add(filter: HookFilter, fn: HookFn, { step, readOnly = false }: HookOptions = {}): () => void {
    const entry = { matches: matcher(filter), runsAt: stepMatcher(step), readOnly, fn };
    this.entries.add(entry);
    return () => void this.entries.delete(entry);
  }

  /** Adds hooks. Returns the function that removes them all; where one cannot be added, none is. */
  addAll(hooks: readonly ScopedHook[]): () => void {
    const removals: (() => void)[] = [];
    const removeAll = () => {
      for (const remove of removals) remove();
    };
    try {
      for (const hook of hooks) removals.push(this.add(...hook));
      return removeAll;
    } catch (error) {
      removeAll();
      throw error;
    }
  }

  clear(): void {
    this.entries.clear();
  }

  /** Whether some hook would run at one of these points, outside of a generation. */
  meets(names: readonly string[]): boolean {
    return [...this.entries].some(({ matches, runsAt }) => runsAt(undefined) && names.some(matches));
  }

  /** The hooks of the whole model, for one forward pass. */
  root(step?: number, runBlock?: BlockRunner): Hooks {
    if (!runBlock && !this.anyAt(step)) return noHooks;
    return new ScopedHooks('', this.entries, step, runBlock);
  }

  private anyAt(step: number | undefined): boolean {
    for (const { runsAt } of this.entries) if (runsAt(step)) return true;
    return false;
  }
}

class ScopedHooks implements Hooks {
  constructor(
    private readonly path: string,
    private readonly entries: ReadonlySet<Entry>,
    private readonly step: number | undefined,
    private readonly runBlock: BlockRunner | undefined,
    private readonly view?: View,
  ) {}

  in(module: string): ScopedHooks {
    if (module === '') return this;
    return new ScopedHooks(join(this.path, module), this.entries, this.step, this.runBlock, this.view);
  }

  seen(view: View): ScopedHooks {
    return new ScopedHooks(this.path, this.entries, this.step, this.runBlock, view);
  }

  block<X extends BlockInputs, Y extends tf.Tensor>(
    module: string,
    forward: (h: Hooks, ...inputs: X) => Y,
    ...inputs: X
  ): Y {
    const h = this.in(module);
    if (!this.runBlock) return forward(h, ...inputs);
    return this.runBlock(h.path, (...again) => forward(h, ...(again as X)), inputs) as Y;
  }

  at<T extends tf.Tensor>(leaf: string, activation: T): T {
    const name = join(this.path, leaf);
    let shown: tf.Tensor | undefined;
    let current: tf.Tensor | undefined;
    for (const entry of this.entries) {
      if (!entry.runsAt(this.step) || !entry.matches(name)) continue;
      shown ??= this.view ? this.view.show(activation) : activation;
      current ??= shown;
      const replacement = entry.fn(current, this.point(name));
      if (!replacement || entry.readOnly) continue;
      if (String(replacement.shape) !== String(shown.shape)) {
        throw new Florence2Error(
          `The hook at ${name} returned shape [${replacement.shape}]; the activation there is [${shown.shape}].`,
        );
      }
      current = replacement;
    }
    if (!current || current === shown) return activation;
    return (this.view ? this.view.restore(current) : current) as T;
  }

  sees(leaf: string): boolean {
    const name = join(this.path, leaf);
    return [...this.entries].some(({ runsAt, matches }) => runsAt(this.step) && matches(name));
  }

  get readers(): Readers | null {
    if (this.runBlock) return null;
    const entries = [...this.entries].filter(({ runsAt }) => runsAt(this.step));
    const replacing = entries.filter(({ readOnly }) => !readOnly);
    return {
      want: name => entries.some(({ matches }) => matches(name)),
      mayReplace: name => replacing.some(({ matches }) => matches(name)),
      show: (name, activation) => {
        for (const { matches, fn } of entries) if (matches(name)) fn(activation, this.point(name));
      },
    };
  }

  private point(name: string): HookPoint {
    return this.step === undefined ? { name } : { name, step: this.step };
  }
}

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);

/** Hooks as whoever computes activations apart from the modules' own calls sees them. */
export interface Readers {
  /** Whether some hook asks for this point. */
  want(name: string): boolean;
  /** Whether one does that may replace what it sees. */
  mayReplace(name: string): boolean;
  /** Calls the hooks that do. */
  show(name: string, activation: tf.Tensor): void;
}

export const noReaders: Readers = { want: () => false, mayReplace: () => false, show: () => {} };

/** The hooks of the whole model; null where blocks are not to run at once. */
export function readersOf(h: Hooks): Readers | null {
  if (h === noHooks) return noReaders;
  return h instanceof ScopedHooks ? h.readers : null;
}

/** Hooks that note the activations at some points, in the form in which hooks are to see them. */
export class NotingHooks implements Hooks {
  constructor(
    private readonly wants: (name: string) => boolean,
    private readonly note: (name: string, activation: tf.Tensor) => void,
    private readonly path = '',
    private readonly view?: View,
  ) {}

  at<T extends tf.Tensor>(leaf: string, activation: T): T {
    const name = join(this.path, leaf);
    if (this.wants(name)) this.note(name, this.view ? this.view.show(activation) : activation);
    return activation;
  }

  sees(leaf: string): boolean {
    return this.wants(join(this.path, leaf));
  }

  in(module: string): NotingHooks {
    if (module === '') return this;
    return new NotingHooks(this.wants, this.note, join(this.path, module), this.view);
  }

  seen(view: View): NotingHooks {
    return new NotingHooks(this.wants, this.note, this.path, view);
  }

  block<X extends BlockInputs, Y extends tf.Tensor>(
    module: string,
    forward: (h: Hooks, ...inputs: X) => Y,
    ...inputs: X
  ): Y {
    return forward(this.in(module), ...inputs);
  }
}
