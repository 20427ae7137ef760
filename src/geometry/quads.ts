import { polygonArea } from './clip.ts';

type Point = readonly [x: number, y: number];

/** Returns the area that two simple quads `[x1, y1, … x4, y4]` share, in square pixels. Corners go round either way. */
export function quadIntersection(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const others = triangles(b);
  let area = 0;
  for (const one of triangles(a)) {
    for (const other of others) area += polygonArea(clipTriangle(one, other).flat());
  }
  return area;
}

/** Returns the intersection over union of two simple quads, 0 to 1; 0 for two without an area. */
export function quadIou(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const both = quadIntersection(a, b);
  const either = polygonArea(a) + polygonArea(b) - both;
  return either > 0 ? both / either : 0;
}

/** Cuts a quad along the diagonal that lies inside it. */
function triangles(quad: ArrayLike<number>): Point[][] {
  const [a, b, c, d] = [0, 2, 4, 6].map((i): Point => [quad[i], quad[i + 1]]);
  const along = [
    [a, b, c],
    [a, c, d],
  ];
  const turns = along.map(turn);
  return turns[0] * turns[1] >= 0 ? along : [[a, b, d], [b, c, d]]; // biome-ignore format: one line
}

/** Positive if the corners go round from the x to the y axis: twice the area. */
const turn = ([a, b, c]: readonly Point[]): number => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);

/** Cuts a triangle at the sides of another one (Sutherland and Hodgman 1974). */
function clipTriangle(subject: Point[], window: Point[]): Point[] {
  const sign = turn(window) < 0 ? -1 : 1;
  let rest = subject;
  for (const [i, from] of window.entries()) {
    const to = window[(i + 1) % window.length];
    const side = (p: Point): number => sign * turn([from, to, p]);
    rest = rest.flatMap((p, j) => {
      const next = rest[(j + 1) % rest.length];
      const [here, there] = [side(p), side(next)];
      const kept: Point[] = here >= 0 ? [p] : [];
      if (here * there < 0) {
        const share = here / (here - there);
        kept.push([p[0] + share * (next[0] - p[0]), p[1] + share * (next[1] - p[1])]);
      }
      return kept;
    });
  }
  return rest;
}
