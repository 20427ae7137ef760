import type { Activation } from '../activations/activation.ts';
import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';

/** `stage.block` of DaViT (`'2.0'`), a number in encoder and decoder. */
export type AttentionLayer = number | string;

/** The given heads of one of `rows` equal parts of an activation [B, heads, …], where B is a multiple of `rows`. */
export async function readHeads(
  cache: ActivationCache,
  name: string,
  { step, row = 0, head }: { step?: number; row?: number; head?: number },
  rows?: number,
): Promise<Activation> {
  const { values, shape } = await cache.array(name, { step }); // all heads: the cache would keep one that was asked of it
  const [B, heads] = shape;
  const parts = rows ?? B;
  if (!isIndex(row, parts)) throw new UsageError(`${name} has rows 0 to ${parts - 1}, not ${row}.`);
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

/** The weights of one head of [heads, queries, keys], or the mean of its heads: [queries, keys]. */
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
  if (!isIndex(head, heads)) throw new UsageError(`There are heads 0 to ${heads - 1}, not ${head}.`);
}

export const isIndex = (value: number, count: number): boolean =>
  Number.isInteger(value) && value >= 0 && value < count;
