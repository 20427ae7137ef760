import type { ImageSize } from '../geometry/types.ts';
import { resizeBicubic } from '../image/resize.ts';
import { checkRawImage } from '../image/source.ts';
import type { RawImage } from '../image/types.ts';
import { checkKind, checkOptions, listOf, onOff, positive } from '../options.ts';
import { RESULT } from '../results/filter.ts';
import type { TaskResult } from '../results/types.ts';
import { type Label, type LayOutText, placeLabels, type TextBlock } from './labels.ts';
import { type Mark, marksOf, textsOf } from './marks.ts';

/** Options of `draw`. */
export interface DrawOptions {
  /** Whether confidences are written after labels, for results that have them. Default true. */
  scores?: boolean;
  /** Size of the labels' letters in pixels of the drawing. Default: 1/45 of √(width · height), at least 12. */
  fontSize?: number;
}

/**
 * A drawing as data: everything that a renderer draws, with all positions in pixels from the top left. Only texts are
 * the renderer's own objects (`T`), because their size depends on its fonts.
 */
export interface Scene<T extends TextBlock> {
  /** The image in the size of the drawing. */
  image: RawImage;
  /** In drawing order: large ones first. */
  outlines: Mark[];
  /** Drawn over the outlines. */
  labels: Label<T>[];
  /** The strip below the image. Absent if no result is a text. */
  caption?: Caption<T>;
}

/** A strip below the image, which may be wider than the image. */
export interface Caption<T extends TextBlock> {
  width: number;
  height: number;
  background: string;
  margin: number; // between the strip's edges and the text
  text: T;
}

/** Colours of the strip below the image. */
export const CAPTION_COLORS = { background: '#16181d', text: '#f4f4f5' };

/** Characters of the texts in the strip below the image. The rest is replaced by an ellipsis. */
const LONGEST_TEXT = 20_000;

/** Drawings have at most this many pixels on a side, half of what the drawing libraries support. */
const MAX_SIDE = 16_384;

/**
 * Builds the drawing of some results: their marks and labels on the image, and texts in a strip below.
 *
 * @param layOutText the renderer's function that breaks texts into lines and measures them
 */
export async function buildScene<T extends TextBlock>(
  image: RawImage,
  results: readonly TaskResult[],
  options: DrawOptions,
  layOutText: LayOutText<T>,
): Promise<Scene<T>> {
  checkOptions('draw', options, { scores: onOff, fontSize: positive });
  checkKind('results', results, listOf(RESULT, 'results, as run and parse return'));
  const { width, height } = drawingSize(checkRawImage(image));
  const resized = resizeBicubic(image, width, height);
  const unit = Math.sqrt(width * height);
  const lineWidth = Math.max(2, Math.round(unit / 230)); // whole pixels, so that edges are sharp
  const fontSize = options.fontSize ?? letterSize(resized);
  const outlines = marksOf(results, resized, { scores: options.scores ?? true, lineWidth });
  const all = textsOf(results).join('\n\n');
  const texts = all.length > LONGEST_TEXT ? `${all.slice(0, LONGEST_TEXT)}…` : all;
  return {
    image: resized,
    outlines,
    labels: await placeLabels(outlines, { width, height, fontSize }, layOutText),
    ...(texts !== '' && { caption: await layOutCaption(texts, width, fontSize, layOutText) }),
  };
}

/** Returns the default height of letters in a drawing of this size, in pixels. */
export const letterSize = ({ width, height }: ImageSize): number => Math.max(12, Math.sqrt(width * height) / 45);

/**
 * Returns the size of an image's drawing. Small images are enlarged by a whole factor, which keeps their pixels equal in
 * size; slim ones by a larger factor.
 */
export function drawingSize({ width, height }: ImageSize): ImageSize {
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  const wanted = Math.max(400 / long, Math.min(160 / short, 4096 / long), 1);
  const scale = Math.min(Math.ceil(wanted), MAX_SIDE / long);
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** The strip below the image is at least 18 letter heights wide, so that a line holds a few words. */
async function layOutCaption<T extends TextBlock>(
  texts: string,
  imageWidth: number,
  fontSize: number,
  layOutText: LayOutText<T>,
): Promise<Caption<T>> {
  const size = fontSize * 1.1;
  const margin = Math.round(size);
  const width = Math.max(imageWidth, Math.round(size * 18));
  const text = await layOutText(texts, { size, color: CAPTION_COLORS.text, width: width - 2 * margin });
  return { width, height: text.height + 2 * margin, background: CAPTION_COLORS.background, margin, text };
}
