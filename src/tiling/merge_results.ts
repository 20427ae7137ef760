import { boundsOf } from '../geometry/clip.ts';
import type { BoxCoordinates, ImageSize } from '../geometry/types.ts';
import { anything, checkKind, checkOptions, type Kind, listOf, objectWith } from '../options.ts';
import { RESULT } from '../results/filter.ts';
import type { Box, Phrase, PolygonInstance, Quad, TaskResult } from '../results/types.ts';
import { MERGE_OPTIONS, type MergeOptions, mergeSightings, type Sighting } from './merge.ts';

/** The answer about a part of an image. */
export interface View<R extends TaskResult = TaskResult> {
  /** The part, in whole pixels of the image. */
  box: BoxCoordinates;
  /** Its result, in pixels of the part. */
  result: R;
}

const VIEW = objectWith({ box: listOf(anything, 'numbers'), result: RESULT }, 'a view');
const VIEWS: Kind = {
  expected: 'a list of at least one view with box and result',
  allows: value => listOf(VIEW, 'views').allows(value) && (value as unknown[]).length > 0,
};

/**
 * Merges the results of one task about parts of an image into a result about the image. Coordinates are moved by whole
 * pixels. Boxes, outlines and the boxes of phrases are merged within their class (label, phrase); region captions, which
 * differ from view to view, and lines of text whatever their words. Of a line, the view with the longest text is kept.
 *
 * @param views at least one, in a fixed order, which breaks ties
 * @returns `answer` has the answers of the views, one per line
 */
export function mergeResults(views: readonly View[], image: ImageSize, options: MergeOptions = {}): TaskResult {
  checkOptions('mergeResults', options, MERGE_OPTIONS);
  checkKind('views', views, VIEWS);
  const [{ result }] = views;
  const results = views.map(view => view.result);
  const dropped = results.reduce((sum, { dropped = 0 }) => sum + dropped, 0);
  const common = {
    imageSize: { width: image.width, height: image.height },
    answer: results.map(({ answer }) => answer).join('\n'),
    truncated: results.some(({ truncated }) => truncated),
    ...(dropped > 0 && { dropped }),
  };
  const merged: Record<string, unknown> = { ...result, ...common };
  const anyLabel = result.task === '<DENSE_REGION_CAPTION>';
  if ('boxes' in result) merged.boxes = mergeBoxes(listsOf(views, 'boxes'), anyLabel, options);
  if ('instances' in result) merged.instances = mergeInstances(listsOf(views, 'instances'), options);
  if ('quads' in result) merged.quads = mergeQuads(listsOf(views, 'quads'), options);
  if ('phrases' in result) merged.phrases = mergePhrases(listsOf(views, 'phrases'), options);
  return merged as unknown as TaskResult;
}

/** An item of a result with the index of its view. */
type Seen<T> = T & { view: number };

interface Lists {
  boxes: Box;
  instances: PolygonInstance;
  quads: Quad;
  phrases: Phrase;
}

/** Returns the items of all views in pixels of the image. */
function listsOf<K extends keyof Lists>(views: readonly View[], field: K): Seen<Lists[K]>[] {
  return views.flatMap(({ box: [x, y], result }, view) => {
    const items = (result as unknown as Record<K, Lists[K][]>)[field];
    return items.map(item => ({ ...(moved(item, x, y) as Lists[K]), view }));
  });
}

/** Returns a copy of an item with all coordinates moved. */
function moved(item: unknown, x: number, y: number): unknown {
  if (Array.isArray(item)) {
    const isPoints = item.every(value => typeof value === 'number');
    return isPoints ? item.map((value, i) => value + (i % 2 === 0 ? x : y)) : item.map(part => moved(part, x, y));
  }
  if (typeof item !== 'object' || item === null) return item;
  return Object.fromEntries(Object.entries(item).map(([key, value]) => [key, moved(value, x, y)]));
}

function mergeBoxes(boxes: Seen<Box>[], anyLabel: boolean, options: MergeOptions): Box[] {
  const sightings = boxes.map(({ box, label, score = 0, view }) => sighting(box, anyLabel ? '' : label, score, view));
  return mergeSightings(sightings, options).map(({ box, members: [kept] }) => ({ ...unseen(boxes[kept]), box }));
}

/** With `nmm` an object has the polygons of all its views; masks are the union of polygons. */
function mergeInstances(instances: Seen<PolygonInstance>[], options: MergeOptions): PolygonInstance[] {
  const sightings = instances.map(({ polygons, label, score = 0, view }) =>
    sighting(boundsOf(polygons.flat()), label, score, view),
  );
  return mergeSightings(sightings, options).map(({ members }) => {
    const parts = options.merge === 'nms' ? members.slice(0, 1) : members;
    return { ...unseen(instances[members[0]]), polygons: parts.flatMap(i => instances[i].polygons) };
  });
}

function mergeQuads(quads: Seen<Quad>[], options: MergeOptions): Quad[] {
  const sightings = quads.map(({ quad, text, score = 0, view }) =>
    sighting(boundsOf(quad), '', text.length + score, view),
  );
  return mergeSightings(sightings, options).map(({ members: [kept] }) => unseen(quads[kept]));
}

function mergePhrases(phrases: Seen<Phrase>[], options: MergeOptions): Phrase[] {
  const places = phrases.flatMap(({ phrase, boxes, view }) => boxes.map(item => ({ ...item, phrase, view })));
  const sightings = places.map(({ box, phrase, score = 0, view }) => sighting(box, phrase, score, view));
  const objects = mergeSightings(sightings, options);
  const names = [...new Set(phrases.map(({ phrase }) => phrase))];
  return names.map(name => {
    const own = objects.filter(({ members: [kept] }) => places[kept].phrase === name);
    const boxes = own.map(({ box, members: [kept] }) => {
      const { phrase: _, ...item } = unseen(places[kept]);
      return { ...item, box };
    });
    return { ...unseen(phrases.find(({ phrase }) => phrase === name)!), boxes };
  });
}

const sighting = (box: BoxCoordinates, name: string, rank: number, view: number): Sighting => ({
  box,
  class: name,
  rank,
  view,
});

function unseen<T extends { view: number }>({ view: _, ...item }: T): Omit<T, 'view'> {
  return item;
}
