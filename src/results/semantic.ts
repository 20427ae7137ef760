import { UsageError } from '../errors.ts';
import { maskArea, polygonsToMask } from '../geometry/masks.ts';
import type { ImageSize, Polygon } from '../geometry/types.ts';
import { anyText, anything, checkKind, listOf, objectWith } from '../options.ts';

/** A class for each pixel of an image. */
export interface SemanticMap extends ImageSize {
  /** Names of the classes; 0 is the background. */
  classes: string[];
  /** [H, W], row by row: the index of a class. */
  data: Uint8Array;
}

const INSTANCES = listOf(
  objectWith({ label: anyText, polygons: listOf(anything, 'polygons') }, 'an instance'),
  'instances with label and polygons',
);

/** Most classes of a map, the background included: as many as a byte has values. */
const MOST_CLASSES = 256;

/**
 * Returns the instances of several classes as one map. Where instances overlap, the one with the smaller area is on top,
 * so a small object on a large one is not lost.
 *
 * @param instances outlines with the names of their classes, in pixels of the image
 * @param classes names of the classes in the order of their indices, from 1 on; default: in order of appearance
 * @throws UsageError for a label that is not among the classes, and for more than 255 classes
 */
export function semanticMap(
  instances: readonly { label: string; polygons: readonly Polygon[] }[],
  { width, height }: ImageSize,
  classes?: readonly string[],
): SemanticMap {
  checkKind('instances', instances, INSTANCES);
  const labels = classes ?? [...new Set(instances.map(({ label }) => label))];
  const names = ['background', ...labels];
  if (names.length > MOST_CLASSES) {
    throw new UsageError(`A map has at most ${MOST_CLASSES - 1} classes, but there are ${labels.length}.`);
  }
  const drawn = instances.map(({ label, polygons }) => {
    const index = labels.indexOf(label) + 1;
    if (index === 0) throw new UsageError(`The label "${label}" is not among the classes: ${labels.join(', ')}.`);
    const mask = polygonsToMask(polygons, { width, height });
    return { index, mask, area: maskArea(mask) };
  });
  const data = new Uint8Array(width * height);
  for (const { index, mask } of drawn.sort((a, b) => b.area - a.area)) {
    for (let i = 0; i < data.length; i++) if (mask.data[i]) data[i] = index;
  }
  return { width, height, classes: names, data };
}
