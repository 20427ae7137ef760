import type { Mask } from './masks.ts';
import type { Polygon } from './types.ts';

/**
 * Returns the outlines of a mask's connected parts as polygons along the pixel edges, clockwise from the topmost pixel.
 * Pixels that touch at a side or a corner are connected. Holes are filled, because Florence-2's polygons have none.
 *
 * @param tolerance points within this many pixels of the simplified line are left out (Douglas and Peucker 1973)
 */
export function maskOutlines(mask: Mask, tolerance = 1): Polygon[] {
  const outlines: Polygon[] = [];
  const seen = new Uint8Array(mask.data.length);
  for (let i = 0; i < mask.data.length; i++) {
    if (!mask.data[i] || seen[i]) continue;
    const outline = simplify(trace(mask, i % mask.width, Math.floor(i / mask.width)), tolerance);
    if (outline.length >= 3) outlines.push(outline.flat());
    markPart(mask, i, seen);
  }
  return outlines;
}

type Point = [x: number, y: number];

/** Steps along pixel edges: right, down, left, up. The inside is on the right-hand side. */
const STEPS: Point[] = [
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, -1],
];

/** Returns the corners of a part's border, starting at the top left corner of its first pixel. */
function trace(mask: Mask, startX: number, startY: number): Point[] {
  const inside = (x: number, y: number): boolean =>
    x >= 0 && y >= 0 && x < mask.width && y < mask.height && mask.data[y * mask.width + x] === 1;
  const corners: Point[] = [];
  let [x, y] = [startX, startY];
  let direction = 0;
  do {
    const before = direction;
    const [dx, dy] = STEPS[direction];
    // The pixels ahead of the corner (x, y), to the left and right of the path.
    const left = inside(x + Math.min(dx + dy, 0), y + Math.min(dy - dx, 0));
    const right = inside(x + Math.min(dx - dy, 0), y + Math.min(dx + dy, 0));
    if (left) direction = (direction + 3) % 4;
    else if (!right) direction = (direction + 1) % 4;
    if (direction !== before || corners.length === 0) corners.push([x, y]);
    x += STEPS[direction][0];
    y += STEPS[direction][1];
  } while (x !== startX || y !== startY);
  return corners;
}

/** Marks all pixels of the part that contains pixel `start`. */
function markPart({ data, width, height }: Mask, start: number, seen: Uint8Array): void {
  const waiting = [start];
  seen[start] = 1;
  for (let i = waiting.pop(); i !== undefined; i = waiting.pop()) {
    const [x, y] = [i % width, Math.floor(i / width)];
    for (let ny = Math.max(y - 1, 0); ny <= Math.min(y + 1, height - 1); ny++) {
      for (let nx = Math.max(x - 1, 0); nx <= Math.min(x + 1, width - 1); nx++) {
        const next = ny * width + nx;
        if (!data[next] || seen[next]) continue;
        seen[next] = 1;
        waiting.push(next);
      }
    }
  }
}

/** Simplifies a closed line in two halves, split at its first point and at the point farthest from that. */
function simplify(points: Point[], tolerance: number): Point[] {
  const { at } = largest(points, ([x, y]) => Math.hypot(x - points[0][0], y - points[0][1]));
  const [there, back] = [points.slice(0, at + 1), [...points.slice(at), points[0]]];
  return [there, back].flatMap(line => simplifyLine(line, tolerance).slice(0, -1));
}

function simplifyLine(points: Point[], tolerance: number): Point[] {
  if (points.length <= 2) return points;
  const [first, last] = [points[0], points[points.length - 1]];
  const { at, value } = largest(points, point => distanceToLine(point, first, last));
  if (value <= tolerance) return [first, last];
  const [before, after] = [points.slice(0, at + 1), points.slice(at)];
  return [...simplifyLine(before, tolerance).slice(0, -1), ...simplifyLine(after, tolerance)];
}

function largest(points: readonly Point[], measure: (point: Point) => number): { at: number; value: number } {
  let [at, value] = [0, Number.NEGATIVE_INFINITY];
  for (const [i, point] of points.entries()) {
    const measured = measure(point);
    if (measured > value) [at, value] = [i, measured];
  }
  return { at, value };
}

function distanceToLine([x, y]: Point, [x0, y0]: Point, [x1, y1]: Point): number {
  const length = Math.hypot(x1 - x0, y1 - y0);
  return length === 0 ? Math.hypot(x - x0, y - y0) : Math.abs((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / length;
}
