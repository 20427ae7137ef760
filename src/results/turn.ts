import { type ExifOrientation, orderedBox, storedPoints, turnedSize } from '../geometry/orientation.ts';
import type { QuadCoordinates } from '../geometry/types.ts';
import { mapObjects, type ResultObject } from './filter.ts';
import type { TaskResult } from './types.ts';

/**
 * Returns a result about an upright image as one about the stored image, which has another EXIF orientation. Quads keep
 * the order of their corners, which is that of the text.
 */
export function turnResult(result: TaskResult, orientation: ExifOrientation): TaskResult {
  if (orientation === 1) return result;
  const { imageSize } = result;
  const points = (values: readonly number[]): number[] => storedPoints(values, imageSize, orientation);
  const turned = <T extends ResultObject>(object: T): T => ({
    ...object,
    ...(object.box && { box: orderedBox(points(object.box)) }),
    ...(object.quad && { quad: points(object.quad) as QuadCoordinates }),
    ...(object.polygons && { polygons: object.polygons.map(points) }),
  });
  return mapObjects({ ...result, imageSize: turnedSize(imageSize, orientation) }, object => [turned(object)]);
}
