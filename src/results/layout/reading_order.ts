import { boundsOf } from '../../geometry/clip.ts';
import type { BoxCoordinates, ImageSize, QuadCoordinates } from '../../geometry/types.ts';
import { anyText, checkKind, finite, listOf, objectWith } from '../../options.ts';
import type { Quad } from '../types.ts';
import { type Fragment, Frame, joinLines } from './lines.ts';

/** A line of text: one region of the model's answer, or several that stand next to each other. */
export interface TextLine {
  /** The texts of the regions, separated by spaces. */
  text: string;
  /** Corners in pixels, from the top left of the upright text on, clockwise. */
  quad: QuadCoordinates;
  /** The regions of the answer, in reading order. */
  regions: Quad[];
}

/** Lines that are read one after the other: a paragraph, a title, a column. */
export interface TextBlock {
  /** The smallest box that contains the lines, in pixels. */
  box: BoxCoordinates;
  /** Direction of the lines in degrees, clockwise: 0 from left to right, 90 downwards. */
  angle: number;
  lines: TextLine[];
}

/** The text of an image in reading order. */
export interface TextLayout extends ImageSize {
  blocks: TextBlock[];
}

const QUADS = listOf(
  objectWith({ text: anyText, quad: listOf(finite, 'numbers') }, 'a line'),
  'lines with text and quad, as run and parse return',
);

/** Lines whose gap is at least this many line heights are in different blocks. */
const BLOCK_GAP = 1;
/** Smallest gap between columns, in line heights. */
const COLUMN_GAP = 1;
/** Smallest median width of the lines of a column, in line heights. The cells of tables are narrower. */
const COLUMN_WIDTH = 4;

/**
 * Returns the lines of an OCR answer in reading order: from top to bottom, columns one after the other from left to
 * right. Regions that stand next to each other are joined to a line.
 *
 * Follows the recursive XY cut (Nagy and Seth 1984): a part of the page is cut between columns if it has any, else at
 * its widest horizontal gap. Narrow columns, those of tables and receipts, are read row by row. Lines in other
 * directions than most of the text are read after it, each direction in a frame in which it is upright.
 *
 * @param quads lines from left to right; scripts that run from right to left or downwards get another order
 */
export function readingOrder(quads: readonly Quad[], image: ImageSize): TextLayout {
  checkKind('quads', quads, QUADS);
  const blocks = Frame.of(quads).flatMap(({ frame, fragments }) =>
    blocksOf(joinLines(fragments, 1)).map(lines => {
      const rows = joinLines(lines, Number.POSITIVE_INFINITY);
      return {
        box: boundsOf(rows.flatMap(({ regions }) => regions.flatMap(({ quad }) => quad))),
        angle: frame.degrees,
        lines: rows.map(row => ({
          text: row.regions.map(({ text }) => text).join(' '),
          quad: frame.cornersOf(row),
          regions: row.regions,
        })),
      };
    }),
  );
  return { width: image.width, height: image.height, blocks };
}

/** Returns the text of a layout: a line per line, an empty line between blocks. */
export const layoutText = ({ blocks }: TextLayout): string =>
  blocks.map(({ lines }) => lines.map(({ text }) => text).join('\n')).join('\n\n');

/** Divides lines into blocks in reading order. */
function blocksOf(lines: readonly Fragment[]): Fragment[][] {
  if (lines.length < 2) return [[...lines]];
  const height = median(lines.map(line => line.bottom - line.top));
  const columns = cut(lines, 'left', 'right', COLUMN_GAP * height);
  if (columns.length > 1 && areColumns(columns, height)) return columns.flatMap(blocksOf);
  const bands = cut(lines, 'top', 'bottom', Number.MIN_VALUE);
  if (bands.length === 1) return [[...lines]];
  const gaps = bands.slice(1).map((band, i) => topOf(band) - bottomOf(bands[i]));
  const widest = gaps.indexOf(Math.max(...gaps)) + 1;
  const above = blocksOf(bands.slice(0, widest).flat());
  const below = blocksOf(bands.slice(widest).flat());
  const inOne = above.length === 1 && below.length === 1 && gaps[widest - 1] < BLOCK_GAP * height;
  return inOne ? [[...above[0], ...below[0]]] : [...above, ...below];
}

/** Divides lines at the gaps of their projection on an axis that are at least this wide. */
function cut(lines: readonly Fragment[], from: 'left' | 'top', to: 'right' | 'bottom', gap: number): Fragment[][] {
  const groups: Fragment[][] = [];
  let end = Number.NEGATIVE_INFINITY;
  for (const line of [...lines].sort((a, b) => a[from] - b[from])) {
    if (groups.length === 0 || line[from] - end >= gap) groups.push([]);
    groups.at(-1)!.push(line);
    end = Math.max(end, line[to]);
  }
  return groups;
}

/** Whether groups next to each other are columns of text: of several lines, and wider than the cells of a table. */
function areColumns(groups: readonly Fragment[][], height: number): boolean {
  const isWide = (lines: Fragment[]): boolean =>
    median(lines.map(({ left, right }) => right - left)) >= COLUMN_WIDTH * height;
  return groups.every(isWide) && groups.filter(({ length }) => length > 1).length > 1;
}

const topOf = (lines: readonly Fragment[]): number => Math.min(...lines.map(({ top }) => top));
const bottomOf = (lines: readonly Fragment[]): number => Math.max(...lines.map(({ bottom }) => bottom));

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1];
}
