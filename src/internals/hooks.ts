import type * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';

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

/** One name, a pattern, or a test on the name. */
export type HookFilter = string | RegExp | ((name: string) => boolean);

/** What a module's `forward` is given: hook points below the module's own path. */
export interface Hooks {
  /** The activation itself, or what a hook at this point puts in its place. */
  at<T extends tf.Tensor>(leaf: string, activation: T): T;
  /** The hooks of a child module; of this one for ''. */
  in(module: string): Hooks;
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

export type BlockInputs = (tf.Tensor | null)[];

/** Runs a block in another way than at once: see training/checkpointing.ts. */
export type BlockRunner = (
  path: string,
  forward: (...inputs: BlockInputs) => tf.Tensor,
  inputs: BlockInputs,
) => tf.Tensor;

/** No hook anywhere: costs one call for each point. */
export const noHooks: Hooks = {
  at: (_leaf, activation) => activation,
  in: () => noHooks,
  block: (_module, forward, ...inputs) => forward(noHooks, ...inputs),
};

interface Entry {
  readonly matches: (name: string) => boolean;
  readonly fn: HookFn;
}

/** The hooks of one model, in the order in which they were added. */
export class HookRegistry {
  private readonly entries = new Set<Entry>();

  /** Calls `fn` at every point that `filter` names. Returns the function that removes it. */
  add(filter: HookFilter, fn: HookFn): () => void {
    const entry = { matches: matcher(filter), fn };
    this.entries.add(entry);
    return () => void this.entries.delete(entry);
  }

  clear(): void {
    this.entries.clear();
  }

  /** The hooks of the whole model, for one forward pass. */
  root(step?: number, runBlock?: BlockRunner): Hooks {
    return this.entries.size === 0 && !runBlock ? noHooks : new ScopedHooks('', this.entries, step, runBlock);
  }
}

class ScopedHooks implements Hooks {
  constructor(
    private readonly path: string,
    private readonly entries: ReadonlySet<Entry>,
    private readonly step: number | undefined,
    private readonly runBlock: BlockRunner | undefined,
  ) {}

  in(module: string): ScopedHooks {
    if (module === '') return this;
    return new ScopedHooks(this.join(module), this.entries, this.step, this.runBlock);
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
    const name = this.join(leaf);
    let current = activation;
    for (const entry of this.entries) {
      if (!entry.matches(name)) continue;
      const replacement = entry.fn(current, this.step === undefined ? { name } : { name, step: this.step });
      if (!replacement) continue;
      if (String(replacement.shape) !== String(activation.shape)) {
        throw new Florence2Error(
          `The hook at ${name} returned shape [${replacement.shape}]; the activation there is [${activation.shape}].`,
        );
      }
      current = replacement as T;
    }
    return current;
  }

  private join(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }
}

function matcher(filter: HookFilter): (name: string) => boolean {
  if (typeof filter === 'function') return filter;
  if (typeof filter === 'string') return name => name === filter;
  return name => name.search(filter) >= 0;
}
