import type { Florence2 } from '../../florence2.ts';
import type { HookFilter } from '../../hooks/hooks.ts';
import { elementCount } from '../../weights/tensor_file.ts';
import type { HookPointShape } from '../hook_points.ts';
import { forcedLogits, type Question } from '../question.ts';

export type Point = HookPointShape;

/** So much of a backend's memory is taken by activations that are kept. */
const PASS_BYTES = 256 * 2 ** 20;

/** The points of a pass over a question, in execution order. */
export function pointsOf(model: Florence2, question: Question, at: HookFilter = '**'): Point[] {
  const points = new Map<string, Point>();
  const remove = model.hooks.add(at, ({ shape }, { name }) => void points.set(name, { name, shape: [...shape] }));
  try {
    forcedLogits(model, question).dispose();
    return [...points.values()];
  } finally {
    remove();
  }
}

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
