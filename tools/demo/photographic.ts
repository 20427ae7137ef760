import type { Background } from './layout.ts';
import type { Rgb } from './vocabulary.ts';

const octaves = [64, 32, 16, 8]; // distances of the lattice points in pixels
const grain = 6; // standard deviation of the noise of each pixel and channel, in grey levels

/**
 * Paints a background like a photograph: soft patches of two colours in several sizes, in two of three scenes a horizon
 * below which the colours swap, light that falls off to one side, and grain.
 *
 * @param data [side, side, 3]
 */
export function paintPhotographic(data: Uint8Array, side: number, background: Background, random: () => number): void {
  const { colors, angle } = background;
  const patches = softNoise(side, random);
  const horizon = random() < 1 / 3 ? side : side * (0.35 + 0.4 * random());
  const slope = 0.2 * (random() - 0.5);
  const [across, down] = [Math.cos(angle), Math.sin(angle)];
  for (let y = 0, at = 0; y < side; y++) {
    for (let x = 0; x < side; x++, at += 3) {
      const above = y < horizon + slope * (x - side / 2);
      const share = above ? patches[y * side + x] : 1 - patches[y * side + x] / 2;
      const light = (14 * ((x - side / 2) * across + (y - side / 2) * down)) / side;
      for (let c = 0; c < 3; c++) {
        const level = mixed(colors, share, c) + light + grain * (random() + random() + random() - 1.5) * 2;
        data[at + c] = Math.min(255, Math.max(0, Math.round(level)));
      }
    }
  }
}

const mixed = ([first, second]: readonly [Rgb, Rgb], share: number, channel: number): number =>
  first[channel] + (second[channel] - first[channel]) * share;

/** Returns value noise [side, side]: smoothly interpolated random lattices, summed; from 0 to 1. */
function softNoise(side: number, random: () => number): Float32Array {
  const sum = new Float32Array(side * side);
  const total = octaves.reduce((all, step) => all + step, 0);
  for (const step of octaves) {
    const points = Math.ceil(side / step) + 1;
    const lattice = Float32Array.from({ length: points * points }, random);
    for (let y = 0; y < side; y++) {
      const [row, v] = cell(y, step);
      for (let x = 0; x < side; x++) {
        const [column, u] = cell(x, step);
        const at = row * points + column;
        const top = lattice[at] + (lattice[at + 1] - lattice[at]) * u;
        const bottom = lattice[at + points] + (lattice[at + points + 1] - lattice[at + points]) * u;
        sum[y * side + x] += ((top + (bottom - top) * v) * step) / total;
      }
    }
  }
  return sum;
}

/** Returns the index of the lattice point before a pixel, and how far the pixel is on the way to the next, eased. */
function cell(pixel: number, step: number): [index: number, part: number] {
  const index = Math.floor(pixel / step);
  const part = pixel / step - index;
  return [index, part * part * (3 - 2 * part)];
}
