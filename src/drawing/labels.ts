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

/** Size of the drawing, and its default width of lines and height of letters, in pixels. */
interface Canvas {
  width: number;
  height: number;
  lineWidth: number;
  fontSize: number;
}

/**
 * Chooses a position for the label of each mark: inside the image and next to the mark, where it covers as little as
 * possible of earlier labels and of small marks. Small marks have smaller letters.
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

    const small = marks.filter(m => m.bounds[3] - m.bounds[1] < 3 * height).map(m => m.bounds);
    const place = best(candidates(mark.bounds, width, height, canvas), taken, small);
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
  let letters = [...new Intl.Segmenter().segment(label.replace(/\s+/g, ' '))].map(s => s.segment);
  const line = await layOutText(letters.join(''), style);
  if (line.width <= maxWidth && line.height <= canvas.height) return line;
  for (;;) {
    const block = await layOutText(letters.join(''), { ...style, width: maxWidth });
    if ((block.height <= maxHeight && block.width <= canvas.width) || letters.length <= 1) return block;
    const keep = Math.floor(letters.length * clamp(maxHeight / block.height, 0.5, 0.9));
    letters = [...letters.slice(0, Math.max(0, keep - 1)), '…'];
  }
}

/** Returns the possible positions of a label, best first: above its mark, inside, below, at a side. */
function candidates(bounds: Rectangle, width: number, height: number, canvas: Canvas): Rectangle[] {
  const rim = Math.round(canvas.lineWidth / 2);
  const [left, top, right, bottom] = [bounds[0] - rim, bounds[1] - rim, bounds[2] + rim, bounds[3] + rim];
  const roomy = right - left > 1.5 * width && bottom - top > 2.5 * height;
  const outside = [
    [left, top - height],
    [right - width, top - height],
    [left, bottom],
    [right - width, bottom],
  ];
  const [innerTop, innerBottom] = [bounds[1], bounds[3] - height]; // covers the mark's line, which may be clipped by the image
  const inside = [
    [bounds[0], innerTop],
    [bounds[2] - width, innerTop],
    [bounds[0], innerBottom],
    [bounds[2] - width, innerBottom],
  ];
  const atSides = [
    [right, top],
    [left - width, top],
  ];
  const order = roomy
    ? [outside[0]!, inside[0]!, ...outside.slice(1), ...inside.slice(1)]
    : [...outside, ...atSides, ...inside];
  return order
    .map(([x, y]) => {
      const at = Math.round(clamp(x!, 0, canvas.width - width));
      const inImage = y! >= 0 && y! + height <= canvas.height;
      return { at, y: Math.round(clamp(y!, 0, canvas.height - height)), inImage };
    })
    .sort((a, b) => Number(b.inImage) - Number(a.inImage))
    .map(({ at, y }) => [at, y, at + width, y + height]);
}

/** Returns the position that covers the least of other labels and, with weight 0.3, of small marks. */
function best(places: Rectangle[], taken: Rectangle[], small: Rectangle[]): Rectangle {
  const covered = (place: Rectangle, others: Rectangle[]) =>
    others.reduce((sum, other) => sum + area(intersection(place, other)), 0);
  let least = Infinity;
  let chosen = places[0]!;
  for (const place of places) {
    const cost = covered(place, taken) + 0.3 * covered(place, small);
    if (cost >= least) continue;
    least = cost;
    chosen = place;
  }
  return chosen;
}

const intersection = (a: Rectangle, b: Rectangle): Rectangle => [
  Math.max(a[0], b[0]),
  Math.max(a[1], b[1]),
  Math.min(a[2], b[2]),
  Math.min(a[3], b[3]),
];

/** Returns black or white for a text on this background, by its relative luminance (WCAG 2). */
function textColor(background: string): string {
  const [r, g, b] = [1, 3, 5].map(i => {
    const level = Number.parseInt(background.slice(i, i + 2), 16) / 255;
    return level <= 0.04045 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b! > 0.3 ? '#101114' : '#ffffff';
}

const clamp = (value: number, low: number, high: number): number => Math.max(low, Math.min(value, high));
