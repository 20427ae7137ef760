import type { OverlayOptions } from 'sharp';
import { resizeBicubic } from '../image/resize.ts';
import { checkRawImage } from '../image/source.ts';
import type { RawImage } from '../image/types.ts';
import type { TaskResult } from '../results/types.ts';
import { placeLabels } from './labels.ts';
import { type Mark, marksOf, textsOf } from './marks.ts';
import { renderText } from './text.ts';

export interface DrawOptions {
  /** Write scores behind labels, where results have them. Default true. */
  scores?: boolean;
  /** Size of the labels' letters in pixels of the drawing. By default it follows from the size of the image. */
  fontSize?: number;
}

const strip = { background: '#16181d', text: '#f4f4f5' };
const maxSide = 16_384; // half of what the drawing libraries can hold

/**
 * Draws results onto their image (or a copy of it in another size): boxes, quads and polygons with labels, and a strip below with what was said in
 * words. Returns a PNG file. Lines and letters follow the size of the image. An image with fewer than 400 pixels on
 * its longer side is enlarged by a whole factor so that labels can be read, and one with more than 16,384 is made
 * smaller; all others keep their size (the strip adds to the height).
 *
 * Letters come with the package for Latin, Greek and Cyrillic; for other scripts the system's fonts are taken.
 */
export async function draw(
  image: RawImage,
  results: TaskResult | TaskResult[],
  options: DrawOptions = {},
): Promise<Uint8Array> {
  const { default: sharp } = await import('sharp');
  const list = Array.isArray(results) ? results : [results];
  const { width, height, scale } = drawingSize(checkRawImage(image));
  const base = scale === 1 ? image : resizeBicubic(image, width, height);
  const marks = marksOf(list, { width, height }, options.scores ?? true);
  const unit = Math.sqrt(width * height);
  const line = Math.max(2, Math.round(unit / 230)); // whole pixels: sharp edges
  const fontSize = options.fontSize ?? Math.max(12, unit / 45);

  const labels = await placeLabels(marks, { width, height, line, fontSize });
  const overlays: OverlayOptions[] = [];
  if (marks.length > 0) overlays.push({ input: svg(width, height, [...shapes(marks, line), ...labels.map(pill)]) });
  for (const { text, textLeft: left, textTop: top } of labels) overlays.push({ input: text, left, top });

  const raw = { width, height, channels: 3 as const };
  const drawn = sharp(base.data, { raw, limitInputPixels: false }).composite(overlays);
  const words = textsOf(list).join('\n\n');
  if (words === '') return drawn.removeAlpha().png().toBuffer();
  const below = await renderCaption(words, width, fontSize);
  return sharp(await drawn.removeAlpha().raw().toBuffer(), { raw, limitInputPixels: false })
    .extend({ bottom: below.height, right: below.width - width, background: strip.background })
    .composite([{ input: below.text, left: below.margin, top: height + below.margin }])
    .png()
    .toBuffer();
}

/** Whole factors keep the pixels of small images in step. Slim images are enlarged further, as long as they stay short. */
function drawingSize({ width, height }: RawImage): { width: number; height: number; scale: number } {
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  const wanted = Math.max(400 / long, Math.min(160 / short, 4096 / long), 1);
  const scale = Math.min(Math.ceil(wanted), maxSide / long);
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)), scale };
}

/** Fills, then the lines: a dark rim makes them stand out from a background of their own colour. */
function* shapes(marks: Mark[], line: number): Generator<string> {
  for (const { polygons, bounds, color, fill } of marks) {
    const paths = polygons.map(pathOf);
    // Parts of one object that overlap are one area, and a polygon that crosses itself has holes: as in its mask.
    const fills = paths.map(d => `<path d="${d}"/>`).join('');
    if (fill > 0) yield `<g fill="${color}" fill-rule="evenodd" opacity="${fill}">${fills}</g>`;
    const extent = Math.min(bounds[2] - bounds[0], bounds[3] - bounds[1]);
    const width = Math.max(2, Math.min(line, Math.round(extent / 12))); // small things have fine lines
    const lines = `<path d="${paths.join('')}" fill="none" stroke-linejoin="round" stroke-linecap="round"`;
    yield `${lines} stroke="#000" stroke-opacity="0.35" stroke-width="${width * 1.9}"/>`;
    yield `${lines} stroke="${color}" stroke-width="${width}"/>`;
  }
}

/** A closed path. A point alone gets a length, or nothing would be drawn of it. */
function pathOf(points: number[]): string {
  const pairs: string[] = [];
  for (let i = 0; i + 1 < points.length; i += 2) pairs.push(`${round(points[i]!)} ${round(points[i + 1]!)}`);
  if (pairs.length === 1) pairs.push(`${round(points[0]!) + 0.01} ${round(points[1]!)}`);
  return `M${pairs.join('L')}Z`;
}

const round = (value: number): number => Math.round(value * 100) / 100;

interface Pill {
  left: number;
  top: number;
  width: number;
  height: number;
  color: string;
}

const pill = ({ left, top, width, height, color }: Pill): string =>
  `<rect x="${left}" y="${top}" width="${width}" height="${height}" rx="${height * 0.12}" fill="${color}"/>`;

const svg = (width: number, height: number, elements: string[]): Buffer =>
  Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${elements.join('')}</svg>`);

/** Words for the strip, broken into lines. It is wider than a slim image, to hold a few words a line. */
async function renderCaption(words: string, imageWidth: number, fontSize: number) {
  const size = fontSize * 1.1;
  const margin = Math.round(size);
  const width = Math.max(imageWidth, Math.round(size * 18));
  const text = await renderText(words, { size, color: strip.text, width: width - 2 * margin });
  return { text: text.png, width, height: text.height + 2 * margin, margin };
}
