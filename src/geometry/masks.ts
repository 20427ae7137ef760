import { UsageError } from '../errors.ts';
import type { ImageSize, Polygon } from './types.ts';

/** A binary mask of the size of its image. */
export interface Mask extends ImageSize {
  data: Uint8Array; // [H, W], row after row: 1 inside, 0 outside
}

export interface MaskOptions {
  /** Polygons of fewer points are left out. Default 3; 2 draws lines. */
  minPoints?: number;
  /** Move points that lie outside the image to its border first. Default false: what lies outside is cut off. */
  clipToImage?: boolean;
}

/**
 * The union of polygons as a mask, pixel for pixel what Pillow's `ImageDraw.polygon(xy, fill=1, outline=1)` draws:
 * coordinates are truncated towards zero, and both end pixels of every edge belong to the mask. A polygon within
 * another is no hole.
 */
export function polygonsToMask(polygons: Iterable<Polygon>, image: ImageSize, options: MaskOptions = {}): Mask {
  const { minPoints = 3, clipToImage = false } = options;
  const mask = emptyMask(image);
  for (const polygon of polygons) {
    if (polygon.length < 2 * minPoints) continue;
    const points = clipToImage ? polygon.map((v, i) => clamp(v, (i % 2 ? image.height : image.width) - 1)) : polygon;
    fillPolygon(mask, points.map(Math.trunc));
  }
  return mask;
}

/** The number of pixels inside. */
export const maskArea = (mask: Mask): number => mask.data.reduce((sum, value) => sum + value, 0);

/** The smallest rectangle around all pixels inside, `[x, y, width, height]`; four zeros for an empty mask. */
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

/** An edge that is not horizontal. */
interface Edge {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
  top: number;
  bottom: number;
  slope: number; // float32, change of x from one row to the next
}

/** Even-odd scan conversion with every edge drawn whole. `points` are integers `[x1, y1, x2, y2, …]`. */
function fillPolygon(mask: Mask, points: Polygon): void {
  const edges: Edge[] = [];
  let first = mask.height - 1;
  let last = 0;
  const count = points.length >> 1;
  for (let i = 0; i < count; i++) {
    const next = (i + 1) % count;
    const [x0, y0, x1, y1] = [points[2 * i], points[2 * i + 1], points[2 * next], points[2 * next + 1]];
    if (next === 0 && x0 === x1 && y0 === y1) continue; // closed by its last point
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

/** Where the edges cross row y. Those that end in it count twice, so that each row has pairs; in the last row once. */
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
 * Two flat edges that leave a corner to the same side would be apart from it in the next row. There the corner's row is
 * drawn on, up to where the nearer of them continues. Undefined where nothing needs to be joined.
 */
function corner(edges: readonly Edge[], i: number, y: number, last: number): number | undefined {
  const edge = edges[i];
  const x = endIn(edge, y);
  const beside = y === last ? y - 1 : y + 1;
  if (x === undefined || edge.slope === 0) return undefined;
  const other = edges
    .slice(0, i)
    .find(e => e.slope !== 0 && endIn(e, y) === x && e.top <= beside && beside <= e.bottom);
  if (!other) return undefined;
  const nearby = [crossing(edge, beside), crossing(other, beside)];
  const [low, high] = [Math.min(...nearby), Math.max(...nearby)];
  if (high < x - 1) return roundHalfOut(high) + 1;
  if (low > x + 1) return roundHalfOut(low) - 1;
  return undefined;
}

/** The x where an edge crosses row y, in float32 as Pillow computes it. */
const crossing = ({ x0, y0, slope }: Edge, y: number): number => Math.fround(Math.fround((y - y0) * slope) + x0);

/** The x of the end that an edge has in row y. */
const endIn = ({ x0, y0, x1, y1 }: Edge, y: number): number | undefined => (y === y0 ? x0 : y === y1 ? x1 : undefined);

/** To the nearest integer, halves away from zero. */
const roundHalfOut = (x: number): number => (x < 0 ? -Math.floor(0.5 - x) : Math.floor(x + 0.5));

/** To the nearest integer, halves towards zero. */
const roundHalfIn = (x: number): number => (x < 0 ? Math.floor(x + 0.5) : Math.ceil(x - 0.5));

/** Sets the pixels of row y from x0 to x1, both included, as far as they are in the image. */
function fillRow({ data, width, height }: Mask, y: number, x0: number, x1: number): void {
  if (y < 0 || y >= height) return;
  data.fill(1, y * width + clamp(x0, width), y * width + clamp(x1 + 1, width));
}
