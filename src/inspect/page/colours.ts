/** The colour map Inferno: perceptually uniform and readable with colour blindness. */
const INFERNO = ['000004', '1b0c41', '4a0c6b', '781c6d', 'a52c60', 'cf4446', 'ed6925', 'fb9b06', 'f7d13d', 'fcffa4'];

const stops = INFERNO.map(hex => [0, 2, 4].map(i => Number.parseInt(hex.slice(i, i + 2), 16)));

/** 256 colours of the map, RGB. */
export const HEAT_COLOURS: Uint8ClampedArray[] = Array.from({ length: 256 }, (_, level) => {
  const at = (level / 255) * (stops.length - 1);
  const below = Math.min(Math.floor(at), stops.length - 2);
  return Uint8ClampedArray.from(stops[below], (from, i) => from + (at - below) * (stops[below + 1][i] - from));
});

/** Interpolates cells bilinearly to `scale` times as many values in each direction. */
export function smoothCells(cells: ArrayLike<number>, columns: number, rows: number, scale: number): Float32Array {
  const [width, height] = [columns * scale, rows * scale];
  const place = (i: number, count: number): [below: number, above: number, share: number] => {
    const at = Math.max(0, Math.min(count - 1, (i + 0.5) / scale - 0.5));
    const below = Math.floor(at);
    return [below, Math.min(below + 1, count - 1), at - below];
  };
  const across = Array.from({ length: width }, (_, x) => place(x, columns));
  const values = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const [top, bottom, down] = place(y, rows);
    for (const [x, [left, right, along]] of across.entries()) {
      const upper = cells[top * columns + left] * (1 - along) + cells[top * columns + right] * along;
      const lower = cells[bottom * columns + left] * (1 - along) + cells[bottom * columns + right] * along;
      values[y * width + x] = upper * (1 - down) + lower * down;
    }
  }
  return values;
}

/**
 * Paints values onto a canvas, one per pixel.
 *
 * @param peak the value with the brightest colour
 * @param alpha returns the opacity of a level from 0 to 1. Default: opaque
 */
export function paintHeat(
  canvas: HTMLCanvasElement,
  cells: ArrayLike<number>,
  peak: number,
  alpha: (level: number) => number = () => 1,
): void {
  const pixels = new ImageData(canvas.width, canvas.height);
  for (let i = 0; i < cells.length; i++) {
    const level = peak > 0 ? Math.min(1, cells[i] / peak) : 0;
    pixels.data.set(HEAT_COLOURS[Math.round(255 * level)], 4 * i);
    pixels.data[4 * i + 3] = 255 * alpha(level);
  }
  canvas.getContext('2d')?.putImageData(pixels, 0, 0);
}
