import type { Mask } from './masks.ts';
import type { ImageSize, Polygon } from './types.ts';

/** Steps of each pixel in which the border of a polygon is followed. */
const SCALE = 5;

/**
 * Returns the union of polygons as a mask, pixel for pixel as COCO's API draws them (`rleFrPoly` and `rleMerge` of
 * cocodataset/cocoapi, `maskApi.c`). `polygonsToMask` draws as Pillow does, with the end pixels of each edge.
 */
export function cocoMask(polygons: Iterable<Polygon>, { width, height }: ImageSize): Mask {
  const data = new Uint8Array(width * height);
  for (const polygon of polygons) {
    const edges = crossings(polygon, width, height).sort((a, b) => a - b);
    for (let i = 0; i < edges.length; i += 2) {
      const end = edges[i + 1] ?? width * height;
      for (let at = edges[i]; at < end; at++) data[(at % height) * width + Math.floor(at / height)] = 1;
    }
  }
  return { width, height, data };
}

/** Returns the pixels, counted column by column, at which a polygon begins or ends. */
function crossings(polygon: Polygon, width: number, height: number): number[] {
  const [u, v] = border(polygon);
  const found: number[] = [];
  for (let j = 1; j < u.length; j++) {
    if (u[j] === u[j - 1]) continue;
    const x = ((u[j] < u[j - 1] ? u[j] : u[j] - 1) + 0.5) / SCALE - 0.5;
    if (!Number.isInteger(x) || x < 0 || x > width - 1) continue;
    const y = (Math.min(v[j], v[j - 1]) + 0.5) / SCALE - 0.5;
    found.push(x * height + Math.ceil(Math.min(Math.max(y, 0), height)));
  }
  return found;
}

/** Returns the points of the border, in steps of 1 / `SCALE` pixel. */
function border(polygon: Polygon): [u: number[], v: number[]] {
  const points = polygon.map(value => Math.trunc(SCALE * value + 0.5));
  const [u, v]: number[][] = [[], []];
  for (let j = 0; j < points.length; j += 2) {
    let [xs, ys] = [points[j], points[j + 1]];
    let [xe, ye] = [points[(j + 2) % points.length], points[(j + 3) % points.length]];
    const [dx, dy] = [Math.abs(xe - xs), Math.abs(ye - ys)];
    const isFlat = dx >= dy;
    const isFlipped = isFlat ? xs > xe : ys > ye;
    if (isFlipped) [xs, ys, xe, ye] = [xe, ye, xs, ys];
    const slope = isFlat ? (ye - ys) / dx : (xe - xs) / dy;
    const length = isFlat ? dx : dy;
    for (let d = 0; d <= length; d++) {
      const t = isFlipped ? length - d : d;
      u.push(isFlat ? t + xs : Math.trunc(xs + slope * t + 0.5));
      v.push(isFlat ? Math.trunc(ys + slope * t + 0.5) : t + ys);
    }
  }
  return [u, v];
}
