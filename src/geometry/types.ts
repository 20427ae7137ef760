/** Size of an image in pixels. */
export interface ImageSize {
  width: number;
  height: number;
}

/** Two corners in pixels, `[x1, y1, x2, y2]`, in the order in which the model generated them, not sorted. */
export type BoxCoordinates = [x1: number, y1: number, x2: number, y2: number];

/**
 * Four corners in pixels, `[x1, y1, … x4, y4]`, in the order in which the model generated them (reading order,
 * clockwise).
 */
// biome-ignore format: four corners
export type QuadCoordinates = [
  x1: number, y1: number, x2: number, y2: number, x3: number, y3: number, x4: number, y4: number,
];

/** A closed line of points in pixels, `[x1, y1, x2, y2, …]`. It may have fewer than three points, or none. */
export type Polygon = number[];
