import { type ExifOrientation, orderedBox, storedPoints, turnedSize } from '../geometry/orientation.ts';
import type { BoxCoordinates, QuadCoordinates } from '../geometry/types.ts';
import type { TaskResult } from './types.ts';

/**
 * Returns a result about an upright image as one about the stored image, which has another EXIF orientation. Quads keep
 * the order of their corners, which is that of the text.
 */
export function turnResult(result: TaskResult, orientation: ExifOrientation): TaskResult {
  if (orientation === 1) return result;
  const { imageSize } = result;
  const points = (values: readonly number[]): number[] => storedPoints(values, imageSize, orientation);
  const withBox = <T extends { box?: BoxCoordinates }>(item: T): T =>
    item.box ? { ...item, box: orderedBox(points(item.box)) } : item;
  const turned = { ...result, imageSize: turnedSize(imageSize, orientation) };
  if ('boxes' in turned) turned.boxes = turned.boxes.map(withBox);
  if ('phrases' in turned) {
    turned.phrases = turned.phrases.map(phrase => ({ ...phrase, boxes: phrase.boxes.map(withBox) }));
  }
  if ('quads' in turned) {
    turned.quads = turned.quads.map(item => ({ ...item, quad: points(item.quad) as QuadCoordinates }));
  }
  if ('instances' in turned) {
    turned.instances = turned.instances.map(item => ({ ...withBox(item), polygons: item.polygons.map(points) }));
  }
  return turned;
}
