import * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import type { HookRegistry } from '../hooks/hooks.ts';
import type { ImageFeatures } from '../image/features.ts';
import type { LayerCache } from '../language/cache.ts';
import type { Memory } from '../language/decoder.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { DecodingSession } from './decoding.ts';

/**
 * Decodes with a key/value cache per layer. The keys and values of cross-attention exist once per batch item. All steps
 * use the hooks and the adapters of the call that creates the session.
 */
export class CachedSession implements DecodingSession {
  private readonly caches: LayerCache[];
  private memory: Memory;
  private steps = 0;
  rows: number;

  constructor(
    private readonly model: Florence2Model,
    memory: Memory,
    private readonly beams: number,
    private readonly hooks: HookRegistry,
    private readonly adaptation = model.adaptation,
  ) {
    this.rows = memory.states.shape[0] * beams;
    [this.caches, this.memory] = model.compute(() => {
      return [model.executor.newCaches(memory.states, hooks.root(0)), clone(memory)];
    }, adaptation);
  }

  step(tokens: Int32Array): tf.Tensor2D {
    const h = this.hooks.root(this.steps++);
    return this.compute(() => {
      const newest = tf.tensor2d(tokens, [this.rows, 1], 'int32');
      return this.model.executor.decodeStep(newest, this.memory, this.caches, h); // [rows, V]
    });
  }

  reorder(index: Int32Array): void {
    const unmoved = index.length === this.rows && index.every((row, i) => row === i);
    if (unmoved) return;
    this.compute(() => {
      const rows = tf.tensor1d(index, 'int32');
      for (const cache of this.caches) cache.reorder(rows);
      if (index.length === this.rows) return;
      const items = tf.tensor1d(keptItems(index, this.beams), 'int32');
      for (const cache of this.caches) cache.keepCross(items);
      this.memory = gather(this.memory, items);
    });
    this.rows = index.length;
  }

  dispose(): void {
    for (const cache of this.caches) cache.dispose();
    free(this.memory);
  }

  private compute<T extends tf.TensorContainer>(body: () => T): T {
    return this.model.compute(() => tf.tidy(body), this.adaptation);
  }
}

/** Decodes without caches: each step runs the decoder over all tokens so far. For tests and research. */
export class UncachedSession implements DecodingSession {
  private memory: Memory;
  private histories: number[][];
  private steps = 0;

  constructor(
    private readonly model: Florence2Model,
    memory: Memory,
    private readonly beams: number,
    private readonly hooks: HookRegistry,
    private readonly adaptation = model.adaptation,
  ) {
    this.memory = model.compute(() => clone(memory));
    this.histories = Array.from({ length: memory.states.shape[0] * beams }, () => []);
  }

  get rows(): number {
    return this.histories.length;
  }

  step(tokens: Int32Array): tf.Tensor2D {
    const h = this.hooks.root(this.steps++);
    this.histories.forEach((history, row) => {
      history.push(tokens[row]);
    });
    const T = this.histories[0].length;
    return this.compute(() => {
      const ids = tf.tensor2d(this.histories.flat(), [this.rows, T], 'int32');
      const logits = this.model.logits(ids, this.memory, h); // [rows, T, V]
      return tf.squeeze(tf.slice(logits, [0, T - 1, 0], [-1, 1, -1]), [1]) as tf.Tensor2D; // [rows, V]
    });
  }

  reorder(index: Int32Array): void {
    if (index.length < this.rows) {
      this.compute(() => {
        this.memory = gather(this.memory, tf.tensor1d(keptItems(index, this.beams), 'int32'));
      });
    }
    this.histories = Array.from(index, row => [...this.histories[row]]);
  }

  dispose(): void {
    free(this.memory);
  }

  private compute<T extends tf.TensorContainer>(body: () => T): T {
    return this.model.compute(() => tf.tidy(body), this.adaptation);
  }
}

/**
 * Encodes prompts, one image each, into the memory of a session. The caller disposes it.
 *
 * @throws UsageError if there are more or fewer images than prompts
 */
export function encodePrompts(
  { model, tokenizer, hooks }: { model: Florence2Model; tokenizer: Tokenizer; hooks: HookRegistry },
  features: readonly ImageFeatures[],
  prompts: readonly string[],
): Memory {
  if (features.length !== prompts.length) {
    throw new UsageError(
      `There are ${features.length} images for ${prompts.length} prompts, expected one image for each prompt.`,
    );
  }
  const { inputIds, attentionMask, lengths } = tokenizer.encodeBatch(prompts);
  const padded = lengths.some(length => length !== lengths[0]);
  const ids = tf.tensor2d(inputIds, undefined, 'int32');
  const mask = padded ? tf.tensor2d(attentionMask, undefined, 'int32') : null;
  const rows = tf.concat(features.map(({ tensor }) => tensor)) as tf.Tensor3D; // [B, 1 + N, D]
  try {
    return model.encodePrompt(rows, ids, mask, hooks.root());
  } finally {
    tf.dispose([ids, mask ?? [], rows]);
  }
}

function free({ states, mask }: Memory): void {
  states.dispose();
  mask?.dispose();
}

function clone({ states, mask }: Memory): Memory {
  return { states: tf.clone(states), mask: mask && tf.clone(mask) };
}

/** Returns some items of a memory, which is disposed. */
function gather({ states, mask }: Memory, items: tf.Tensor1D): Memory {
  const kept = { states: tf.keep(tf.gather(states, items)), mask: mask && tf.keep(tf.gather(mask, items)) };
  free({ states, mask });
  return kept;
}

/** Returns the batch items of the rows in `index`. */
function keptItems(index: Int32Array, beams: number): number[] {
  return Array.from({ length: index.length / beams }, (_, item) => Math.floor(index[item * beams] / beams));
}
