import type { TaskResult } from './types.ts';

/**
 * Returns a result without the objects whose `confidence` is below `minScore`, 0 to 1. Texts and objects without a
 * confidence are kept. A phrase is removed with its last box.
 */
export function filterByScore(result: TaskResult, minScore: number): TaskResult {
  const keep = ({ confidence = 1 }: { confidence?: number }): boolean => confidence >= minScore;
  const filtered = { ...result };
  if ('boxes' in filtered) filtered.boxes = filtered.boxes.filter(keep);
  if ('instances' in filtered) filtered.instances = filtered.instances.filter(keep);
  if ('quads' in filtered) filtered.quads = filtered.quads.filter(keep);
  if ('phrases' in filtered) {
    const phrases = filtered.phrases.map(phrase => ({ ...phrase, boxes: phrase.boxes.filter(keep) }));
    filtered.phrases = phrases.filter(({ boxes }) => boxes.length > 0);
  }
  return filtered;
}
