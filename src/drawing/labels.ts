import { textColor } from './colors.ts';
import { area, type Mark, type Rectangle } from './marks.ts';

/** How a text is set. */
export interface TextStyle {
  /** Height of the letters in pixels. */
  size: number;
  color: string;
  /** Lines are broken at this many pixels. Default: one line. */
  width?: number;
}

/** A text that a renderer has broken into lines: the size of its ink in pixels. */
export interface TextBlock {
  width: number;
  height: number;
}

/** Breaks a text into lines and measures it. Each renderer has its own, because sizes depend on its fonts. */
export type LayOutText<T extends TextBlock> = (text: string, style: TextStyle) => Promise<T>;

/** A label at its position: a rectangle in the colour of its mark, with a text inside. */
export interface Label<T extends TextBlock> {
  left: number;
  top: number;
  width: number;
  height: number;
  color: string;
  text: T;
  textLeft: number;
  textTop: number;
}

/** Size of the drawing, and the height of letters at large marks, in pixels. */
interface Canvas {
  width: number;
  height: number;
  fontSize: number;
}

/**
 * Chooses a position for the label of each mark: inside the image and next to the mark, outside its lines if there is
 * room, where it covers as little as possible of earlier labels and of objects. Small marks have smaller letters.
 */
export async function placeLabels<T extends TextBlock>(
  marks: readonly Mark[],
  canvas: Canvas,
  layOutText: LayOutText<T>,
): Promise<Label<T>[]> {
  const labels: Label<T>[] = [];
  const taken: Rectangle[] = [];
  for (const mark of marks) {
    if (mark.label === '') continue;
    const [, top, , bottom] = mark.bounds;
    const size = Math.max(
      Math.min(11, canvas.fontSize),
      canvas.fontSize * clamp((bottom - top) / (3 * canvas.fontSize), 0.65, 1),
    );
    const text = await fitText(mark.label, { size, color: textColor(mark.color) }, canvas, layOutText);
    if (text.width > canvas.width || text.height > canvas.height) continue; // not even one letter fits
    const padding = Math.round(size * 0.38);
    const width = Math.min(text.width + 2 * padding, canvas.width);
    const height = Math.min(Math.max(text.height + Math.round(size * 0.5), Math.round(size * 1.4)), canvas.height);

    const place = best(candidates(mark.frame, width, height, canvas), taken, marks);
    taken.push(place);
    labels.push({
      left: place[0],
      top: place[1],
      width,
      height,
      color: mark.color,
      text,
      textLeft: Math.max(0, place[0] + Math.floor((width - text.width) / 2)),
      textTop: Math.max(0, place[1] + Math.floor((height - text.height) / 2)),
    });
  }
  return labels;
}

/** Characters of a label that are laid out, far more than three lines hold. */
const LONGEST_LABEL = 1000;

/** Breaks long labels into lines, at most three; the rest of the label is replaced by an ellipsis. */
async function fitText<T extends TextBlock>(
  label: string,
  style: { size: number; color: string },
  canvas: Canvas,
  layOutText: LayOutText<T>,
): Promise<T> {
  const { size } = style;
  const maxWidth = Math.max(1, Math.min(canvas.width - size, Math.max(size * 16, canvas.width * 0.4)));
  const maxHeight = Math.min(size * 4, canvas.height);
  const start = label.slice(0, LONGEST_LABEL).replace(/\s+/g, ' ');
  let letters = [...new Intl.Segmenter().segment(start)].map(s => s.segment);
  const line = await layOutText(letters.join(''), style);
  if (line.width <= maxWidth && line.height <= canvas.height) return line;
  for (;;) {
    const block = await layOutText(letters.join(''), { ...style, width: maxWidth });
    if ((block.height <= maxHeight && block.width <= canvas.width) || letters.length <= 1) return block;
    const keep = Math.floor(letters.length * clamp(maxHeight / block.height, 0.5, 0.9));
    letters = [...letters.slice(0, Math.max(0, keep - 1)), '…'];
  }
}

/** Returns the possible positions of a label, best first: above its mark, below, at a side, inside. */
function candidates([left, top, right, bottom]: Rectangle, width: number, height: number, canvas: Canvas): Rectangle[] {
  const corners: [x: number, y: number][] = [
    [left, top - height],
    [right - width, top - height],
    [left, bottom],
    [right - width, bottom],
    [right, top],
    [left - width, top],
    [right, bottom - height],
    [left - width, bottom - height],
    [left, top],
    [right - width, top],
    [left, bottom - height],
    [right - width, bottom - height],
  ];
  return corners.map(([x, y]) => {
    const at = clamp(Math.round(x), 0, canvas.width - width);
    const from = clamp(Math.round(y), 0, canvas.height - height);
    return [at, from, at + width, from + height];
  });
}

/** Returns the position that covers the least of other labels, which count twice, and of objects. */
function best(places: readonly Rectangle[], taken: readonly Rectangle[], marks: readonly Mark[]): Rectangle {
  const costs = places.map(place => {
    const labels = sum(taken.map(other => 2 * area(intersection(place, other))));
    return labels + sum(marks.map(({ bounds }) => hidden(place, bounds)));
  });
  return places[costs.indexOf(Math.min(...costs))]!;
}

/** Returns how much of an object a label hides, in pixels. Pixels of objects larger than the label count less. */
function hidden(place: Rectangle, object: Rectangle): number {
  const weight = Math.min(1, area(place) / Math.max(1, area(object)));
  return weight * area(intersection(place, object));
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const intersection = (a: Rectangle, b: Rectangle): Rectangle => [
  Math.max(a[0], b[0]),
  Math.max(a[1], b[1]),
  Math.min(a[2], b[2]),
  Math.min(a[3], b[3]),
];

const clamp = (value: number, low: number, high: number): number => Math.max(low, Math.min(value, high));
