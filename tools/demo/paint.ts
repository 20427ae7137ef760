import type { RawImage } from '../../src/image/types.ts';
import { randomStream } from '../../src/random.ts';
import { type Background, SCENE_SIDE, type SceneLayout, type Sign } from './layout.ts';
import { paintPhotographic } from './photographic.ts';
import { printedWord } from './printed_words.ts';
import { inBox, SHAPES } from './shapes.ts';
import { PHOTOGRAPHIC, type Rgb } from './vocabulary.ts';

const WHITE: Rgb = [248, 248, 246];
const BLACK: Rgb = [16, 16, 18];

/** Paints a scene, small objects over large ones. `seed` and `index` determine the grain of its background. */
export function paint({ background, objects, sign }: SceneLayout, seed: number, index: number): RawImage {
  const data = new Uint8Array(SCENE_SIDE * SCENE_SIDE * 3);
  const grain = randomStream(seed, 'grain', index);
  if (background.kind === PHOTOGRAPHIC) paintPhotographic(data, SCENE_SIDE, background, grain);
  else paintBackground(data, background, grain);
  if (sign) paintSign(data, sign);
  const largestFirst = objects.toSorted((a, b) => b.box[2] - b.box[0] - (a.box[2] - a.box[0]));
  for (const { shape, box, rgb } of largestFirst) paintOutline(data, inBox(SHAPES[shape].outline, box), rgb);
  return { data, width: SCENE_SIDE, height: SCENE_SIDE };
}

function paintBackground(data: Uint8Array, background: Background, random: () => number): void {
  const { kind, angle, period, colors } = background;
  const [across, down] = [Math.cos(angle), Math.sin(angle)];
  const half = SCENE_SIDE / 2;
  for (let y = 0, at = 0; y < SCENE_SIDE; y++) {
    for (let x = 0; x < SCENE_SIDE; x++, at += 3) {
      const along = (x - half) * across + (y - half) * down; // pixels from the centre
      let share = 0; // share of the second colour
      if (kind === 'shaded') share = 0.5 + along / (2.8 * half);
      if (kind === 'striped') share = along / period - Math.floor(along / period) < 0.5 ? 0 : 1;
      if (kind === 'grainy') share = random();
      blend(data, at, colors[0], 1);
      if (share !== 0) blend(data, at, colors[1], share);
    }
  }
}

function paintSign(data: Uint8Array, { word, font, box, textBox, plate }: Sign): void {
  const [paper, ink] = plate === 'white' ? [WHITE, BLACK] : [BLACK, WHITE];
  const { width, height, coverage } = printedWord(word, font);
  for (let y = box[1]; y < box[3]; y++) {
    for (let x = box[0]; x < box[2]; x++) blend(data, (y * SCENE_SIDE + x) * 3, paper, 1);
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = ((textBox[1] + y) * SCENE_SIDE + textBox[0] + x) * 3;
      blend(data, at, ink, coverage[y * width + x] / 255);
    }
  }
}

const rowsPerPixel = 8;

/**
 * Fills a closed outline by the even-odd rule. Anti-aliased: each pixel is blended by the part of it that is inside.
 */
function paintOutline(data: Uint8Array, points: number[], color: Rgb): void {
  const ys = points.filter((_, i) => i % 2 === 1);
  const [first, last] = [Math.floor(Math.min(...ys)), Math.ceil(Math.max(...ys)) - 1];
  const covered = new Float64Array(SCENE_SIDE);
  for (let y = first; y <= last; y++) {
    covered.fill(0);
    for (let row = 0; row < rowsPerPixel; row++) {
      const crossings = crossingsAt(points, y + (row + 0.5) / rowsPerPixel);
      for (let i = 0; i + 1 < crossings.length; i += 2) addSpan(covered, crossings[i], crossings[i + 1]);
    }
    for (let x = 0; x < SCENE_SIDE; x++) {
      if (covered[x] > 0) blend(data, (y * SCENE_SIDE + x) * 3, color, covered[x] / rowsPerPixel);
    }
  }
}

/** Returns the x coordinates at which a horizontal line crosses the outline, sorted. */
function crossingsAt(points: number[], y: number): number[] {
  const crossings: number[] = [];
  for (let i = 0; i < points.length; i += 2) {
    const next = (i + 2) % points.length;
    const [x1, y1, x2, y2] = [points[i], points[i + 1], points[next], points[next + 1]];
    if (y1 > y !== y2 > y) crossings.push(x1 + ((y - y1) / (y2 - y1)) * (x2 - x1));
  }
  return crossings.sort((a, b) => a - b);
}

/** Adds to each pixel of a row the part of it that lies between two x coordinates. */
function addSpan(covered: Float64Array, from: number, to: number): void {
  for (let x = Math.floor(from); x < to; x++) covered[x] += Math.min(to, x + 1) - Math.max(from, x);
}

/** Blends a colour over a pixel; opaque at 1. */
function blend(data: Uint8Array, at: number, color: Rgb, opacity: number): void {
  for (let c = 0; c < 3; c++) data[at + c] = Math.round(data[at + c] + (color[c] - data[at + c]) * opacity);
}
