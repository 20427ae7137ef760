import type { TaskResult } from './types.ts';

/**
 * Returns a result without the objects whose score is below `minScore`. Text and objects without a score are kept. A
 * phrase is removed with its last box.
 */
export function filterByScore(result: TaskResult, minScore: number): TaskResult {
  const keep = ({ score }: { score?: number }): boolean => score === undefined || score >= minScore;
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
