import { difference } from '../../activations/activation.ts';
import { elementCount } from '../../weights/tensor_file.ts';
import type { HookPointShape as Point } from '../hook_points.ts';
import type { DiffRow } from './report.ts';

/** Largest total size of the activations that one pass keeps. */
const PASS_BYTES = 256 * 2 ** 20;

/** Divides the points, in their order, into passes that each keep at most `PASS_BYTES` (or a single point). */
export function passesOver(points: Point[]): string[][] {
  const passes: string[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const { name, shape } of points) {
    const size = 4 * elementCount(shape);
    if (bytes + size > PASS_BYTES) {
      passes.push([]);
      bytes = 0;
    }
    passes.at(-1)!.push(name);
    bytes += size;
  }
  return passes;
}

/** The measured part of a row. */
export type Measured = Omit<DiffRow, 'departs' | 'firstDeparture'>;

/** Whether a point has the same shape in both runs. Logits may differ in the size of the vocabulary. */
export function comparable(a: Point, b: Point): boolean {
  const compared = (shape: number[]) => (a.name === 'hook_logits' ? shape.slice(0, -1) : shape);
  return compared(a.shape).join() === compared(b.shape).join();
}

/** Attention scores below this belong to masked keys; included, they would dominate every norm. */
const HIDDEN = -1e8;

/** Compares the values of a point that is comparable; of logits, the tokens that both vocabularies have. */
export function comparePoint(a: Point, valuesOfA: Float32Array, b: Point, valuesOfB: Float32Array): Measured {
  const { name, shape } = a;
  const [C, other] = [shape.at(-1)!, b.shape.at(-1)!];
  if (C !== other) {
    const shared = Math.min(C, other);
    const columns = (values: Float32Array, of: number) => values.filter((_, i) => i % of < shared);
    const measured = difference(columns(valuesOfB, other), columns(valuesOfA, C));
    return { name, shape, ...measured, remark: `compared the first ${shared} tokens; A has ${C}, B has ${other}` };
  }
  if (!name.endsWith('hook_attn_scores')) return { name, shape, ...difference(valuesOfB, valuesOfA) };
  const seen = (values: Float32Array) => values.filter((_, i) => valuesOfA[i] > HIDDEN || valuesOfB[i] > HIDDEN);
  return { name, shape, ...difference(seen(valuesOfB), seen(valuesOfA)) };
}

const INCOMPARABLE = { maxAbs: Infinity, relative: Infinity };

export const onlyIn = (run: 'A' | 'B', { name, shape }: Point): Measured => {
  return { name, shape, ...INCOMPARABLE, remark: `only in ${run}` };
};

export const otherShape = (a: Point, b: Point): Measured => {
  return { ...a, ...INCOMPARABLE, remark: `shape in B is [${b.shape}]` };
};
