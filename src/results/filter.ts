import { anyText, checkKind, type Kind, listOf, objectWith, positive, share } from '../options.ts';
import type { Box, PolygonInstance, Quad, TaskResult } from './types.ts';

/** A result, as an argument of another call. */
export const RESULT: Kind = objectWith(
  { task: anyText, imageSize: objectWith({ width: positive, height: positive }, 'a size') },
  'a result, as run and parse return',
);

/** What boxes, instances, quads and the boxes of phrases have in common. */
export type ResultObject = Partial<
  Pick<Box, 'box' | 'confidence'> & Pick<PolygonInstance, 'polygons'> & Pick<Quad, 'quad'>
>;

/**
 * Returns a result without the objects whose `confidence` is below `minScore`, 0 to 1. Texts and objects without a
 * confidence are kept. A phrase is removed with its last box.
 */
export function filterByScore<R extends TaskResult>(result: R, minScore: number): R {
  checkKind('result', result, RESULT);
  checkKind('minScore', minScore, share);
  return mapObjects(result, object => ((object.confidence ?? 1) >= minScore ? [object] : []));
}

/**
 * Returns a result in which each box, instance and quad is replaced by those that `change` returns for it. A phrase is
 * removed with its last box.
 */
export function mapObjects<R extends TaskResult>(result: R, change: <T extends ResultObject>(object: T) => T[]): R {
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

/**
 * Returns a result without the objects whose label is not one of `labels`. Upper and lower case are equal. Text, phrases
 * and lines of text are kept: they have no labels.
 */
export function filterByLabel<R extends TaskResult>(result: R, labels: readonly string[]): R {
  checkKind('result', result, RESULT);
  checkKind('labels', labels, listOf(anyText, 'texts'));
  const wanted = new Set(labels.map(plain));
  const keep = ({ label }: { label: string }): boolean => wanted.has(plain(label));
  const filtered = { ...result };
  if ('boxes' in filtered) filtered.boxes = filtered.boxes.filter(keep);
  if ('instances' in filtered) filtered.instances = filtered.instances.filter(keep);
  return filtered;
}

const plain = (label: string): string => label.trim().toLowerCase();
