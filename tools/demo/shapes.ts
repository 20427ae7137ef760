/** An outline that touches all sides of the unit square: `[x1, y1, x2, y2, …]`, y downwards. */
export type Outline = readonly number[];

export interface ShapeGeometry {
  /** The painted outline. */
  outline: Outline;
  /** The outline in answers: few points, clockwise from the topmost (of several, the left one). */
  polygon: Outline;
}

/** Returns points around the origin, clockwise from an angle (0 is up), with a radius for each. */
function ring(count: number, radius: (i: number) => number, from = 0): number[] {
  return Array.from({ length: count }, (_, i) => from + (2 * Math.PI * i) / count).flatMap((angle, i) => [
    radius(i) * Math.sin(angle),
    -radius(i) * Math.cos(angle),
  ]);
}

/** Scales points to fill the unit square. */
function fit(points: number[]): Outline {
  const axis = (at: number) => points.filter((_, i) => i % 2 === at);
  const low = [0, 1].map(at => Math.min(...axis(at)));
  const high = [0, 1].map(at => Math.max(...axis(at)));
  return points.map((value, i) => (value - low[i % 2]) / (high[i % 2] - low[i % 2]));
}

const same = (outline: Outline): ShapeGeometry => ({ outline, polygon: outline });

/** A heart curve, one point per degree of its parameter, clockwise from the notch. */
const heart = fit(
  Array.from({ length: 360 }, (_, degree) => (2 * Math.PI * degree) / 360).flatMap(t => [
    16 * Math.sin(t) ** 3,
    -13 * Math.cos(t) + 5 * Math.cos(2 * t) + 2 * Math.cos(3 * t) + Math.cos(4 * t),
  ]),
);

/** Degrees at which the heart's outline bends. */
const heartCorners = [0, 25, 40, 55, 70, 85, 100, 118, 145, 180, 215, 242, 260, 275, 290, 305, 320, 335];

/** A regular polygon with twelve corners and the circle's area, with an edge in the middle of each side. */
const dodecagon = ring(12, () => 0.5 * Math.sqrt(Math.PI / 3), -Math.PI / 12).map(value => value + 0.5);

const shapes = {
  circle: { outline: fit(ring(64, () => 1)), polygon: dodecagon },
  square: same([0, 0, 1, 0, 1, 1, 0, 1]),
  triangle: same([0.5, 0, 1, 1, 0, 1]),
  diamond: same([0.5, 0, 1, 0.5, 0.5, 1, 0, 0.5]),
  star: same(fit(ring(10, i => (i % 2 ? 0.45 : 1)))),
  heart: { outline: heart, polygon: heartCorners.flatMap(degree => heart.slice(2 * degree, 2 * degree + 2)) },
} satisfies Record<string, ShapeGeometry>;

export type SceneShape = keyof typeof shapes;

export const SHAPES: Readonly<Record<SceneShape, ShapeGeometry>> = shapes;

/** Scales an outline into a box, in pixels. */
export function inBox(outline: Outline, [x1, y1, x2, y2]: readonly number[]): number[] {
  return outline.map((value, i) => (i % 2 ? y1 + value * (y2 - y1) : x1 + value * (x2 - x1)));
}
