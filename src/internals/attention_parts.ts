import type { Activation } from '../activations/activation.ts';
import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';

/** `'stage.block'` for DaViT, such as `'2.0'`; the layer's number for encoder and decoder. */
export type AttentionLayer = number | string;

/**
 * Reads one of `rows` equal parts of an activation [B, heads, …], where B is a multiple of `rows`: all heads, or one.
 *
 * @param rows number of parts. Default: B
 * @returns [B / rows, heads or 1, …]
 * @throws UsageError if the row or head does not exist
 */
export async function readHeads(
  cache: ActivationCache,
  name: string,
  { step, row = 0, head }: { step?: number; row?: number; head?: number },
  rows?: number,
): Promise<Activation> {
  // All heads, because the cache keeps a copy of each head that is read alone.
  const { values, shape } = await cache.array(name, { step });
  const [B, heads] = shape;
  const parts = rows ?? B;
  if (!isIndex(row, parts)) throw new UsageError(`Row ${row} does not exist at ${name}; rows are 0 to ${parts - 1}.`);
  if (head !== undefined) checkHead(head, heads);
  const part = values.subarray((row * values.length) / parts, ((row + 1) * values.length) / parts);
  if (head === undefined) return { values: part, shape: [B / parts, ...shape.slice(1)] };
  const size = values.length / B / heads;
  const picked = new Float32Array(part.length / heads);
  for (let i = 0; i < B / parts; i++) {
    const from = (i * heads + head) * size;
    picked.set(part.subarray(from, from + size), i * size);
  }
  return { values: picked, shape: [B / parts, 1, ...shape.slice(2)] };
}

/** Returns the weights [queries, keys] of one head of [heads, queries, keys], or the mean over all heads. */
export function headOf({ values, shape }: Activation, head?: number): Float32Array {
  const [queries, keys] = shape.slice(-2);
  const size = queries * keys;
  const heads = values.length / size;
  if (head !== undefined) {
    checkHead(head, heads);
    return values.slice(head * size, (head + 1) * size);
  }
  const mean = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    let sum = 0;
    for (let h = 0; h < heads; h++) sum += values[h * size + i];
    mean[i] = sum / heads;
  }
  return mean;
}

export function checkHead(head: number, heads: number): void {
  if (!isIndex(head, heads)) throw new UsageError(`Head ${head} does not exist; heads are 0 to ${heads - 1}.`);
}

export const isIndex = (value: number, count: number): boolean =>
  Number.isInteger(value) && value >= 0 && value < count;
