import { UsageError } from '../../errors.ts';
import { maskOutlines } from '../../geometry/outlines.ts';
import { decodeRle, decompressCounts } from '../../geometry/rle.ts';
import { isRecord, show } from '../../json.ts';
import type { Polygon } from '../../results/types.ts';
import type { ImageSize } from '../../text/locations.ts';

/**
 * The outline of one object: polygons, or run lengths (a list of them, or COCO's string), whose mask's borders are
 * traced. Polygons that enclose nothing are left out, with a warning.
 */
export function cocoPolygons(
  segmentation: unknown,
  image: ImageSize | undefined,
  warn: (message: string) => void,
): Polygon[] {
  if (segmentation === undefined || segmentation === null) return [];
  if (isRecord(segmentation)) return maskOutlines(decodeRle(readRuns(segmentation, image)));
  if (!Array.isArray(segmentation)) {
    throw new UsageError(`segmentation is ${show(segmentation)}, expected polygons or run lengths.`);
  }
  return segmentation.filter((polygon, i): polygon is Polygon => {
    if (!Array.isArray(polygon) || !polygon.every(Number.isFinite)) {
      throw new UsageError(`segmentation[${i}] is ${show(polygon)}, expected x, y, x, y, ….`);
    }
    const whole = polygon.length >= 6 && polygon.length % 2 === 0;
    if (!whole)
      warn(`segmentation[${i}] of ${polygon.length} numbers is left out: a polygon has at least three points.`);
    return whole;
  });
}

function readRuns({ size, counts }: Record<string, unknown>, image: ImageSize | undefined) {
  const isSize = Array.isArray(size) && size.length === 2 && size.every(n => Number.isSafeInteger(n) && n > 0);
  if (!isSize) throw new UsageError(`segmentation.size is ${show(size)}, expected height and width.`);
  const [height, width] = size as [number, number];
  if (image && (image.width !== width || image.height !== height)) {
    throw new UsageError(
      `segmentation is a mask of ${width}x${height} pixels, but the image is ${image.width}x${image.height}.`,
    );
  }
  const runs = typeof counts === 'string' ? decompressCounts(counts) : counts;
  if (!Array.isArray(runs) || !runs.every(n => Number.isSafeInteger(n) && n >= 0)) {
    throw new UsageError(`segmentation.counts is ${show(counts)}, expected run lengths.`);
  }
  return { size: [height, width] as [number, number], counts: runs as number[] };
}
