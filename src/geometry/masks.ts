import { UsageError } from '../errors.ts';
import { checkOptions, count, onOff } from '../options.ts';
import type { ImageSize, Polygon } from './types.ts';

/** A binary mask with the size of its image. */
export interface Mask extends ImageSize {
  /** [H, W], row by row: 1 inside, 0 outside. */
  data: Uint8Array;
}

/** Options of `polygonsToMask`. */
export interface MaskOptions {
  /** Polygons with fewer points are left out. Default 3; with 2, lines are drawn too. */
  minPoints?: number;
  /** Whether points outside the image are moved to its border first. Default false: polygons are cut at the border. */
  clipToImage?: boolean;
}

/**
 * Returns the union of polygons as a mask, pixel for pixel as Pillow's `ImageDraw.polygon(xy, fill=1, outline=1)` draws
 * them: coordinates are truncated towards zero, and both end pixels of each edge belong to the mask. A polygon inside
 * another one does not cut a hole.
 *
 * @throws UsageError if the image size is not a positive whole number of pixels
 */
export function polygonsToMask(polygons: Iterable<Polygon>, image: ImageSize, options: MaskOptions = {}): Mask {
  checkOptions('polygonsToMask', options, { minPoints: count, clipToImage: onOff });
  const { minPoints = 3, clipToImage = false } = options;
  const mask = emptyMask(image);
  for (const polygon of polygons) {
    if (polygon.length < 2 * minPoints) continue;
    const points = clipToImage ? polygon.map((v, i) => clamp(v, (i % 2 ? image.height : image.width) - 1)) : polygon;
    fillPolygon(mask, points.map(Math.trunc));
  }
  return mask;
}

/** Returns the number of pixels inside a mask. */
export const maskArea = (mask: Mask): number => mask.data.reduce((sum, value) => sum + value, 0);

/** Returns the bounding box of the pixels inside, `[x, y, width, height]`; four zeros for an empty mask. */
export function maskBounds({ data, width, height }: Mask): [x: number, y: number, width: number, height: number] {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!data[i]) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = y;
    }
  }
  return right < 0 ? [0, 0, 0, 0] : [left, top, right - left + 1, bottom - top + 1];
}

function emptyMask({ width, height }: ImageSize): Mask {
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new UsageError(`A mask of ${width}x${height} pixels cannot be drawn.`);
  }
  return { width, height, data: new Uint8Array(width * height) };
}

const clamp = (value: number, max: number): number => Math.min(Math.max(value, 0), max);

/** A polygon edge that is not horizontal. */
interface Edge {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
  top: number;
  bottom: number;
  slope: number; // float32, change of x per row
}

/** Fills a polygon of integer points by even-odd scan conversion and draws all its edges. */
function fillPolygon(mask: Mask, points: Polygon): void {
  const edges: Edge[] = [];
  let first = mask.height - 1;
  let last = 0;
  const count = points.length >> 1;
  for (let i = 0; i < count; i++) {
    const next = (i + 1) % count;
    const [x0, y0, x1, y1] = [points[2 * i], points[2 * i + 1], points[2 * next], points[2 * next + 1]];
    if (next === 0 && x0 === x1 && y0 === y1) continue; // the last point repeats the first
    const [top, bottom] = [Math.min(y0, y1), Math.max(y0, y1)];
    first = Math.min(first, top);
    last = Math.max(last, bottom);
    if (top === bottom) fillRow(mask, top, Math.min(x0, x1), Math.max(x0, x1));
    else edges.push({ x0, y0, x1, y1, top, bottom, slope: Math.fround((x1 - x0) / (y1 - y0)) });
  }
  first = Math.max(first, 0);
  last = Math.min(last, mask.height);
  for (let y = first; y <= last; y++) {
    const crossings = crossingsOf(edges, y, last).sort((a, b) => a - b);
    for (let i = 1; i < crossings.length; i += 2) {
      fillRow(mask, y, roundHalfOut(crossings[i - 1]), roundHalfIn(crossings[i]));
    }
  }
}

/**
 * Returns the x at which edges cross row y. An edge that ends in the row counts twice, so that crossings come in pairs;
 * in the last row it counts once.
 */
function crossingsOf(edges: readonly Edge[], y: number, last: number): number[] {
  const crossings: number[] = [];
  for (const [i, edge] of edges.entries()) {
    if (y < edge.top || y > edge.bottom) continue;
    const x = crossing(edge, y);
    if (y === edge.bottom && y < last) crossings.push(x, x);
    else crossings.push(corner(edges, i, y, last) ?? x);
  }
  return crossings;
}

/**
 * Two flat edges that leave a corner to the same side leave a gap between the corner's row and the next. Pillow extends
 * the corner's row to where the nearer edge continues. Returns the x of that extension; undefined if there is no gap.
 */
function corner(edges: readonly Edge[], i: number, y: number, last: number): number | undefined {
  const edge = edges[i];
  const x = endIn(edge, y);
  const adjacentRow = y === last ? y - 1 : y + 1;
  if (x === undefined || edge.slope === 0) return undefined;
  const other = edges
    .slice(0, i)
    .find(e => e.slope !== 0 && endIn(e, y) === x && e.top <= adjacentRow && adjacentRow <= e.bottom);
  if (!other) return undefined;
  const nearby = [crossing(edge, adjacentRow), crossing(other, adjacentRow)];
  const [low, high] = [Math.min(...nearby), Math.max(...nearby)];
  if (high < x - 1) return roundHalfOut(high) + 1;
  if (low > x + 1) return roundHalfOut(low) - 1;
  return undefined;
}

/** Returns the x at which an edge crosses row y, in float32 as Pillow computes it. */
const crossing = ({ x0, y0, slope }: Edge, y: number): number => Math.fround(Math.fround((y - y0) * slope) + x0);

/** Returns the x of an edge's end point in row y; undefined if it has none. */
const endIn = ({ x0, y0, x1, y1 }: Edge, y: number): number | undefined => (y === y0 ? x0 : y === y1 ? x1 : undefined);

/** Rounds to the nearest integer, halves away from zero. */
const roundHalfOut = (x: number): number => (x < 0 ? -Math.floor(0.5 - x) : Math.floor(x + 0.5));

/** Rounds to the nearest integer, halves towards zero. */
const roundHalfIn = (x: number): number => (x < 0 ? Math.floor(x + 0.5) : Math.ceil(x - 0.5));

/** Sets the pixels of row y from x0 to x1, both included. Pixels outside the image are skipped. */
function fillRow({ data, width, height }: Mask, y: number, x0: number, x1: number): void {
  if (y < 0 || y >= height) return;
  data.fill(1, y * width + clamp(x0, width), y * width + clamp(x1 + 1, width));
}
