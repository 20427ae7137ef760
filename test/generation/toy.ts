import * as tf from '@tensorflow/tfjs';
import type { DecodingSession } from '../../src/generation/decoding.ts';
import type { GenerationSettings } from '../../src/generation/options.ts';

/** Returns the logits of the token after a sequence, for one batch item. */
export type ToyModel = (item: number, sequence: readonly number[]) => Float32Array;

/** Settings with Florence-2's special tokens, without forced or banned tokens. */
export const plain: GenerationSettings = {
  numBeams: 1,
  maxNewTokens: 8,
  earlyStopping: true,
  lengthPenalty: 1,
  noRepeatNgramSize: 0,
  forcedBosTokenId: null,
  forcedEosTokenId: null,
  numReturnSequences: 1,
  useCache: true,
  decoderStartTokenId: 2,
  eosTokenIds: [2],
  minNewTokens: 0,
  repetitionPenalty: 1,
  badWords: [],
  doSample: false,
  seed: 0,
  temperature: 1,
  topK: 50,
  topP: 1,
  minP: 0,
  padTokenId: 1,
};

/** Returns a generator of numbers in [0, 1) (mulberry32). */
export function random(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns a model with pseudo-random logits that depend on the item and the whole sequence. */
export function toyModel(seed: number, vocabSize: number, spread = 4): ToyModel {
  return (item, sequence) => {
    const hash = [item, ...sequence].reduce(
      (h, n) => Math.imul(h ^ (n + 1), 0x01000193) ^ (h >>> 7),
      seed + 0x811c9dc5,
    );
    const next = random(hash);
    return Float32Array.from({ length: vocabSize }, () => spread * (next() + next() + next() - 1.5));
  };
}

/** A session over a toy model. It stores whole sequences and checks that it is used correctly. */
export class ToySession implements DecodingSession {
  private sequences: { item: number; tokens: number[] }[];
  /** Number of rows of each step so far. */
  readonly steps: number[] = [];

  constructor(
    private readonly model: ToyModel,
    batch: number,
    private readonly beams: number,
  ) {
    this.sequences = Array.from({ length: batch * beams }, (_, row) => ({ item: Math.floor(row / beams), tokens: [] }));
  }

  get rows(): number {
    return this.sequences.length;
  }

  step(tokens: Int32Array): tf.Tensor2D {
    if (tokens.length !== this.rows) throw new Error(`${tokens.length} tokens for ${this.rows} rows`);
    this.steps.push(this.rows);
    const logits = this.sequences.map(({ item, tokens: past }, row) => {
      past.push(tokens[row]);
      return Array.from(this.model(item, past));
    });
    return tf.tensor2d(logits);
  }

  reorder(index: Int32Array): void {
    const { beams } = this;
    if (index.length % beams !== 0) throw new Error(`${index.length} rows are not a multiple of ${beams} beams`);
    const past = this.sequences;
    this.sequences = Array.from(index, row => ({ item: past[row].item, tokens: [...past[row].tokens] }));
    this.sequences.forEach(({ item }, row) => {
      if (item !== this.sequences[row - (row % beams)].item) throw new Error(`row ${row} moved to another item`);
    });
  }

  dispose(): void {}
}

export function logSoftmax(logits: ArrayLike<number>): number[] {
  const values = Array.from(logits);
  const highest = Math.max(...values);
  const normaliser = highest + Math.log(values.reduce((sum, x) => sum + Math.exp(x - highest), 0));
  return values.map(x => x - normaliser);
}

/** Returns the tokens that would repeat an n-gram, by searching the whole sequence. */
export function repeats(sequence: readonly number[], size: number): Set<number> {
  const banned = new Set<number>();
  if (size === 0 || sequence.length < size) return banned;
  const prefix = sequence.slice(sequence.length - size + 1);
  for (let i = 0; i + size <= sequence.length; i++) {
    if (prefix.every((token, j) => sequence[i + j] === token)) banned.add(sequence[i + size - 1]);
  }
  return banned;
}

/** Returns the score of each next token: log-softmax, then the n-gram block, then forced tokens. */
export function processedScores(
  model: ToyModel,
  item: number,
  sequence: readonly number[],
  settings: GenerationSettings,
): number[] {
  const banned = repeats(sequence, settings.noRepeatNgramSize);
  let scores = logSoftmax(model(item, sequence)).map((x, token) => (banned.has(token) ? -Infinity : x));
  const only = (forced: number) => scores.map((_, token) => (token === forced ? 0 : -Infinity));
  if (sequence.length === 1 && settings.forcedBosTokenId !== null) scores = only(settings.forcedBosTokenId);
  if (sequence.length === settings.maxNewTokens && settings.forcedEosTokenId !== null) {
    scores = only(settings.forcedEosTokenId);
  }
  return scores;
}
