import type * as tf from '@tensorflow/tfjs';
import { Florence2Error, UsageError } from '../errors.ts';
import { callback, checkKind, checkOptions, listOf, onOff } from '../options.ts';
import {
  type HookFilter,
  leaves,
  matcher,
  requirePoints,
  STEP_FILTER,
  type StepFilter,
  stepMatcher,
} from './filter.ts';

export type { HookFilter, StepFilter } from './filter.ts';

/** Where and when a hook is called. */
export interface HookPoint {
  /** Name of the hook point, such as `language_model.decoder.layers.0.hook_resid_post`. */
  readonly name: string;
  /** Decoder call within a generation, from 0; undefined outside of a generation. */
  readonly step?: number;
}

/**
 * Called with the activation at a hook point. A returned tensor of the same shape replaces the activation, which is
 * disposed after the forward pass: `tf.keep(activation.clone())` keeps a copy.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a hook that only reads returns nothing
export type HookFn = (activation: tf.Tensor, point: HookPoint) => tf.Tensor | void;

/** Options of a hook. */
export interface HookOptions {
  /**
   * Generation steps at which the hook runs; step 0 generates the first token. Hooks with a `step` run only during
   * generation: not in the vision tower, the encoder, or under teacher forcing. Default: the hook always runs.
   */
  step?: StepFilter;
  /**
   * Whether the hook only reads the activation; its return value is then ignored. Parts of the network with only such
   * hooks can run as a graph (docs/speed.md), and the hooks are called after the graph. Default false.
   */
  readOnly?: boolean;
}

/**
 * Checks a hook of a model. A predicate may match no hook point: the hook then never runs.
 *
 * @param names all hook points of the model
 * @throws UsageError if a name or pattern matches none of them, `fn` is not a function, or an option is unknown
 */
export function checkHook(names: readonly string[], filter: HookFilter, fn: HookFn, options: HookOptions = {}): void {
  requirePoints(
    leaves(filter).filter(one => typeof one !== 'function'),
    names,
  );
  checkKind('The function of a hook', fn, callback);
  checkOptions('A hook', options, { step: STEP_FILTER, readOnly: onOff });
}

/** A hook for one call only: filter, function and options as for `addHook`. */
export type ScopedHook = readonly [filter: HookFilter, fn: HookFn, options?: HookOptions];

const SCOPED_HOOKS = listOf({ expected: 'a hook', allows: Array.isArray }, 'hooks [filter, function, options]');

/** Checks the hooks of a call. @throws UsageError as `checkHook`, and if they are not a list of hooks */
export function checkHooks(names: readonly string[], hooks: readonly ScopedHook[]): void {
  checkKind('hooks', hooks, SCOPED_HOOKS);
  for (const hook of hooks) checkHook(names, ...hook);
}

/** The hooks of a module and its children, passed to `forward`. Names are relative to the module's path. */
export interface Hooks {
  /** Calls the hooks at a point. Returns the activation, or the tensor that a hook replaced it with. */
  at<T extends tf.Tensor>(leaf: string, activation: T): T;
  /** Whether a hook would run at this point. */
  sees(leaf: string): boolean;
  /** Whether hooks run at this point and all of them return the same again if they are called a second time. */
  repeats(leaf: string): boolean;
  /** Returns the hooks of a child module; '' returns these. */
  in(module: string): Hooks;
  /** Returns the same hooks for activations that are stored in another layout than hooks receive. */
  seen(view: View): Hooks;
  /**
   * Runs a block of the network with the hooks of the module `in(module)`. Gradient checkpointing computes each block a
   * second time. `inputs` must therefore contain all tensors that `forward` uses apart from its parameters, and
   * everything with a gradient must be computed in some block.
   */
  block<X extends BlockInputs, Y extends tf.Tensor>(
    module: string,
    forward: (h: Hooks, ...inputs: X) => Y,
    ...inputs: X
  ): Y;
}

/** Converts an activation to the layout that hooks receive, and back. Called only if a hook runs at the point. */
export interface View {
  show(activation: tf.Tensor): tf.Tensor;
  restore(shown: tf.Tensor): tf.Tensor;
}

/** Tensors that a block uses apart from its parameters. */
export type BlockInputs = (tf.Tensor | null)[];

/** Runs a block of the network in place of a direct call: see training/gradient_checkpointing.ts. */
export type BlockRunner = (
  path: string,
  forward: (...inputs: BlockInputs) => tf.Tensor,
  inputs: BlockInputs,
) => tf.Tensor;

/** The hooks of a pass without any: each point costs one call. */
export const noHooks: Hooks = {
  at: (_leaf, activation) => activation,
  sees: () => false,
  repeats: () => false,
  in: () => noHooks,
  seen: () => noHooks,
  block: (_module, forward, ...inputs) => forward(noHooks, ...inputs),
};

interface Entry {
  readonly matches: (name: string) => boolean;
  readonly runsAt: (step: number | undefined) => boolean;
  readonly readOnly: boolean;
  readonly repeatable: boolean;
  readonly fn: HookFn;
}

/** The hooks of a model, or of one call of it. They run in the order in which they were added. */
export class HookRegistry {
  private readonly own = new Set<Entry>();

  /** @param shared hooks that run before those of this registry, also those added to it later */
  constructor(private readonly shared?: HookRegistry) {}

  /**
   * Adds a hook that calls `fn` at every point that `filter` selects. Returns a function that removes it.
   *
   * @param options.repeatable whether `fn` returns the same for the same activation, so that gradients may compute the
   *   activation again instead of keeping it. Default false
   */
  add(
    filter: HookFilter,
    fn: HookFn,
    { step, readOnly = false, repeatable = false }: HookOptions & { repeatable?: boolean } = {},
  ): () => void {
    const entry = { matches: matcher(filter), runsAt: stepMatcher(step), readOnly, repeatable, fn };
    this.own.add(entry);
    return () => void this.own.delete(entry);
  }

  /** Returns a registry with these hooks and more, which do not run for others that use these. */
  with(hooks: readonly ScopedHook[]): HookRegistry {
    const registry = new HookRegistry(this);
    for (const hook of hooks) registry.add(...hook);
    return registry;
  }

  /** Removes the hooks of this registry. */
  clear(): void {
    this.own.clear();
  }

  /** Whether a hook would run at one of these points outside of a generation. */
  meets(names: readonly string[]): boolean {
    return this.runningAt(undefined).some(({ matches }) => names.some(matches));
  }

  /**
   * Returns the hooks of the whole model for one forward pass. Hooks that are added later do not run in it.
   *
   * @param step decoder call of a generation, from 0; undefined outside of a generation
   * @param runBlock runs the blocks of the network. Default: a direct call
   */
  root(step?: number, runBlock?: BlockRunner): Hooks {
    const entries = this.runningAt(step);
    return entries.length > 0 || runBlock ? new ScopedHooks('', entries, step, runBlock) : noHooks;
  }

  /** Returns the hooks that run at a step, in order. */
  private runningAt(step: number | undefined): Entry[] {
    const before = this.shared?.runningAt(step) ?? [];
    return [...before, ...[...this.own].filter(({ runsAt }) => runsAt(step))];
  }
}

class ScopedHooks implements Hooks {
  constructor(
    private readonly path: string,
    private readonly entries: readonly Entry[],
    private readonly step: number | undefined,
    private readonly runBlock: BlockRunner | undefined,
    private readonly view?: View,
  ) {}

  in(module: string): ScopedHooks {
    if (module === '') return this;
    return new ScopedHooks(joinPath(this.path, module), this.entries, this.step, this.runBlock, this.view);
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
    const name = joinPath(this.path, leaf);
    let shown: tf.Tensor | undefined;
    let current: tf.Tensor | undefined;
    for (const entry of this.entries) {
      if (!entry.matches(name)) continue;
      shown ??= this.view ? this.view.show(activation) : activation;
      current ??= shown;
      const replacement = call(entry.fn, current, this.point(name));
      if (!replacement || entry.readOnly) continue;
      if (String(replacement.shape) !== String(shown.shape)) {
        throw new Florence2Error(
          `The hook at ${name} returned shape [${replacement.shape}], but the activation has shape [${shown.shape}].`,
        );
      }
      current = replacement;
    }
    if (!current || current === shown) return activation;
    return (this.view ? this.view.restore(current) : current) as T;
  }

  sees(leaf: string): boolean {
    const name = joinPath(this.path, leaf);
    return this.entries.some(({ matches }) => matches(name));
  }

  repeats(leaf: string): boolean {
    const name = joinPath(this.path, leaf);
    const seeing = this.entries.filter(({ matches }) => matches(name));
    return seeing.length > 0 && seeing.every(({ repeatable }) => repeatable);
  }

  get readers(): Readers | null {
    if (this.runBlock) return null;
    const replacing = this.entries.filter(({ readOnly }) => !readOnly);
    return {
      want: name => this.entries.some(({ matches }) => matches(name)),
      mayReplace: name => replacing.some(({ matches }) => matches(name)),
      show: (name, activation) => {
        for (const { matches, fn } of this.entries) if (matches(name)) call(fn, activation, this.point(name));
      },
    };
  }

  private point(name: string): HookPoint {
    return this.step === undefined ? { name } : { name, step: this.step };
  }
}

/** Calls a hook. @throws UsageError if it is asynchronous: its tensor would come after the pass */
function call(fn: HookFn, activation: tf.Tensor, point: HookPoint): tf.Tensor | undefined {
  const returned: unknown = fn(activation, point);
  if (returned instanceof Promise) {
    returned.catch(() => {}); // this error is thrown in its place
    throw new UsageError(`The hook at ${point.name} is asynchronous; a hook returns a tensor or nothing.`);
  }
  return returned as tf.Tensor | undefined;
}

export const joinPath = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);

/** The hooks of a pass for code that computes activations outside of the modules' `forward`, such as a graph. */
export interface Readers {
  /** Whether a hook runs at this point. */
  want(name: string): boolean;
  /** Whether a hook that may replace the activation runs at this point. */
  mayReplace(name: string): boolean;
  /** Calls the hooks at this point; their return values are ignored. */
  show(name: string, activation: tf.Tensor): void;
}

/** The `Readers` of a pass without hooks. */
export const noReaders: Readers = { want: () => false, mayReplace: () => false, show: () => {} };

/** Returns the hooks of the whole model; null under gradient checkpointing. */
export function readersOf(h: Hooks): Readers | null {
  if (h === noHooks) return noReaders;
  return h instanceof ScopedHooks ? h.readers : null;
}
