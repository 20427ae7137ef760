import type { TaskResult } from './types.ts';

/**
 * Returns a result without the objects whose `confidence` is below `minScore`, 0 to 1. Texts and objects without a
 * confidence are kept. A phrase is removed with its last box.
 */
export function filterByScore(result: TaskResult, minScore: number): TaskResult {
  return mapObjects(result, object => ((object.confidence ?? 1) >= minScore ? [object] : []));
}

/**
 * Returns a result in which each box, instance and quad is replaced by those that `change` returns for it. A phrase is
 * removed with its last box.
 */
export function mapObjects(
  result: TaskResult,
  change: <T extends { confidence?: number }>(object: T) => T[],
): TaskResult {
  const changed = { ...result };
  if ('boxes' in changed) changed.boxes = changed.boxes.flatMap(change);
  if ('instances' in changed) changed.instances = changed.instances.flatMap(change);
  if ('quads' in changed) changed.quads = changed.quads.flatMap(change);
  if ('phrases' in changed) {
    const phrases = changed.phrases.map(phrase => ({ ...phrase, boxes: phrase.boxes.flatMap(change) }));
    changed.phrases = phrases.filter(({ boxes }) => boxes.length > 0);
  }
  return changed;
}
