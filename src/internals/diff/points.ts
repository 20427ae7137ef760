import { difference } from '../../activations/activation.ts';
import { elementCount } from '../../weights/tensor_file.ts';
import type { HookPointShape as Point } from '../hook_points.ts';
import type { DiffRow } from './report.ts';

/** So much of a backend's memory is taken by activations that are kept. */
const PASS_BYTES = 256 * 2 ** 20;

/** Points shared out among passes, in their order, so that no pass keeps more than a little at once. */
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

/** What is measured of one point. */
export type Measured = Omit<DiffRow, 'departs' | 'firstDeparture'>;

/** Whether a point has the same elements in both runs; of the vocabulary, where one run has more tokens, those of both. */
export function comparable(a: Point, b: Point): boolean {
  const compared = (shape: number[]) => (a.name === 'hook_logits' ? shape.slice(0, -1) : shape);
  return compared(a.shape).join() === compared(b.shape).join();
}

/** Scores below this are of keys that may not be seen: they would outweigh all others. */
const HIDDEN = -1e8;

/** Values of comparable points of runs A and B. */
export function comparePoint(a: Point, valuesOfA: Float32Array, b: Point, valuesOfB: Float32Array): Measured {
  const { name, shape } = a;
  const [C, other] = [shape.at(-1)!, b.shape.at(-1)!];
  if (C !== other) {
    const shared = Math.min(C, other);
    const columns = (values: Float32Array, of: number) => values.filter((_, i) => i % of < shared);
    const measured = difference(columns(valuesOfB, other), columns(valuesOfA, C));
    return { name, shape, ...measured, remark: `the first ${shared} tokens; A has ${C}, B ${other}` };
  }
  if (!name.endsWith('hook_attn_scores')) return { name, shape, ...difference(valuesOfB, valuesOfA) };
  const seen = (values: Float32Array) => values.filter((_, i) => valuesOfA[i] > HIDDEN || valuesOfB[i] > HIDDEN);
  return { name, shape, ...difference(seen(valuesOfB), seen(valuesOfA)) };
}

const beyond = { maxAbs: Infinity, relative: Infinity };

export const onlyIn = (run: 'A' | 'B', { name, shape }: Point): Measured => {
  return { name, shape, ...beyond, remark: `only ${run} has it` };
};

export const otherShape = (a: Point, b: Point): Measured => {
  return { ...a, ...beyond, remark: `has shape [${b.shape}] in B` };
};
