import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { QuadCoordinates } from '../../../src/geometry/types.ts';
import { layoutText, readingOrder } from '../../../src/results/layout/reading_order.ts';
import type { Quad } from '../../../src/results/types.ts';

const page = { width: 1000, height: 1000 };

/** A line 20 pixels high. */
const line = (text: string, left: number, top: number, right: number, height = 20): Quad => ({
  text,
  quad: [left, top, right, top, right, top + height, left, top + height],
});

/** Turns a page about its centre, clockwise. */
function turned({ text, quad }: Quad, degrees: number): Quad {
  const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  const points = [0, 2, 4, 6].flatMap(i => {
    const [x, y] = [quad[i] - 500, quad[i + 1] - 500];
    return [500 + x * cos - y * sin, 500 + x * sin + y * cos];
  });
  return { text, quad: points as QuadCoordinates };
}

/** A title over two columns of three lines, and a line below both; the lines of the columns are on equal heights. */
const TWO_COLUMNS = [
  line('The title of the page', 100, 50, 900, 40),
  ...[0, 1, 2].map(i => line(`left ${i}`, 100, 120 + 26 * i, 480)),
  ...[0, 1, 2].map(i => line(`right ${i}`, 520, 120 + 26 * i, 900)),
  line('A line below both columns', 100, 260, 900),
];
const TWO_COLUMNS_TEXT =
  'The title of the page\n\nleft 0\nleft 1\nleft 2\n\nright 0\nright 1\nright 2\n\nA line below both columns';

const reversed = <T>(items: readonly T[]): T[] => [...items].reverse();

test('a title, two columns and a line below, in any order of the answer', () => {
  for (const quads of [TWO_COLUMNS, reversed(TWO_COLUMNS)]) {
    assert.is(layoutText(readingOrder(quads, page)), TWO_COLUMNS_TEXT);
  }
});

test('the same page turned: skewed, on its side, upside down', () => {
  for (const degrees of [3, -4, 10, 90, 180, -90, 87]) {
    const layout = readingOrder(reversed(TWO_COLUMNS).map(quad => turned(quad, degrees)), page); // biome-ignore format: one line
    assert.is(layoutText(layout), TWO_COLUMNS_TEXT, `${degrees} degrees`);
    for (const { angle } of layout.blocks) assert.is((angle + 360) % 360, (degrees + 360) % 360);
    const [{ lines }] = layout.blocks;
    const { quad } = turned(TWO_COLUMNS[0], degrees);
    const largest = Math.max(...lines[0].quad.map((value, i) => Math.abs(value - quad[i])));
    assert.ok(largest < 1e-9, `corners at ${degrees} degrees differ by ${largest}`);
  }
});

test('regions next to each other are one line, with corners around both', () => {
  const [a, b] = [line('Grand', 10, 10, 60), line('Hotel', 66, 14, 120)];
  const { blocks } = readingOrder([b, a], page);
  assert.equal(blocks, [
    {
      box: [10, 10, 120, 34],
      angle: 0,
      lines: [{ text: 'Grand Hotel', quad: [10, 10, 120, 10, 120, 34, 10, 34], regions: [a, b] }],
    },
  ]);
});

test('a receipt is read row by row', () => {
  const rows = ['Coffee', 'Two sandwiches', 'Total'].flatMap((name, i) => [
    line(name, 100, 100 + 25 * i, 100 + 12 * name.length),
    line(`${i + 1}.50`, 700, 101 + 25 * i, 745),
  ]);
  assert.is(layoutText(readingOrder(reversed(rows), page)), 'Coffee 1.50\nTwo sandwiches 2.50\nTotal 3.50');
});

test('paragraphs are blocks', () => {
  const lines = [0, 26, 52, 130, 156].map((y, i) => line(`line ${i}`, 100, y, 800));
  assert.is(layoutText(readingOrder(lines, page)), 'line 0\nline 1\nline 2\n\nline 3\nline 4');
});

test('text in another direction is read after the others', () => {
  const upward = turned(line('up the margin', 400, 960, 600), -90);
  const { blocks } = readingOrder([upward, ...TWO_COLUMNS], page);
  assert.is(layoutText({ ...page, blocks }), `${TWO_COLUMNS_TEXT}\n\nup the margin`);
  assert.is(blocks.at(-1)!.angle, -90);
});

test('an answer without text', () => {
  assert.equal(readingOrder([], page), { ...page, blocks: [] });
});

test.run();
