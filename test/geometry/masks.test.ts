import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { type Mask, maskArea, maskBounds, polygonsToMask } from '../../src/geometry/masks.ts';
import { encodeRle } from '../../src/geometry/rle.ts';
import { reference, referenceJson } from '../reference.ts';

const { cases } = referenceJson('processor/masks.json');

/** Reads an image of the reference as ones and zeros. */
async function readMask(png: string): Promise<Mask> {
  const { default: sharp } = await import('sharp');
  const { data, info } = await sharp(reference(`processor/${png}`))
    .extractChannel(0)
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data: Uint8Array.from(data, value => (value ? 1 : 0)) };
}

test('polygons are drawn as Pillow draws them', async () => {
  assert.ok(cases.length >= 30);
  for (const c of cases) {
    const [width, height] = c.image_size;
    const options = { minPoints: c.min_points, clipToImage: c.clip_to_image };
    const mask = polygonsToMask(c.polygons, { width, height }, options);
    const expected = await readMask(c.png);
    assert.equal([mask.width, mask.height], [expected.width, expected.height], c.id);
    const wrong = mask.data.findIndex((value, i) => value !== expected.data[i]);
    assert.is(wrong, -1, `${c.id}: pixel ${wrong % width},${Math.floor(wrong / width)} is ${mask.data[wrong]}`);
    assert.is(maskArea(mask), c.area, c.id);
    assert.equal(maskBounds(mask), c.bbox_xywh, c.id);
    assert.equal(encodeRle(mask), { size: [height, width], counts: c.rle_counts }, c.id);
  }
});

/** Drawn by Pillow 13.0.0: corners whose two edges leave to the same side, and other special cases. */
const PILLOW: [what: string, polygon: number[], rows: string[]][] = [
  ['corner to the right', [7, 2, 8, 2, 5, 1], ['............', '.....##.....', '.......##...', '............']],
  [
    'spike to the left',
    [11, 1, 18, 5, 3, 3, 19, 5, 11, 1],
    [
      '....................',
      '...........##.......',
      '.............#......',
      '...########....#....',
      '...........#....##..',
      '.................###',
    ],
  ],
  [
    'corner with vertical edges',
    [18, 2, 18, 6, 18, 2, 3, 6],
    [
      '....................',
      '....................',
      '...............####.',
      '..............#...#.',
      '..................#.',
      '.......#..........#.',
      '...####...........#.',
      '....................',
    ],
  ],
  [
    'corner passed twice',
    [6, 1, 20, 4, 6, 1, 3, 2],
    [
      '........................',
      '......#####.............',
      '...#.......#............',
      '...............#........',
      '................#####...',
    ],
  ],
  ['coinciding edges', [0, 2, 4, 4, 0, 2], ['.....', '.....', '##...', '..#..', '...##', '.....']],
  ['cut at the bottom', [2, 1, 12, 9, -3, 6], ['........', '..#.....', '.###....', '#####...']],
  ['consecutive horizontal edges', [1, 1, 4, 1, 8, 1, 6, 3], ['..........', '.########.', '....####..', '......#...']],
  [
    'coordinates truncated towards zero',
    [-0.9, -0.9, 5.9, 0.5, 2.2, 3.9],
    ['######..', '.####...', '.###....', '..#.....'],
  ],
];

test('corners, degenerate and cut polygons are drawn as Pillow draws them', () => {
  for (const [what, polygon, rows] of PILLOW) {
    const mask = polygonsToMask([polygon], { width: rows[0].length, height: rows.length });
    const drawn = rows.map((_, y) =>
      Array.from(mask.data.subarray(y * mask.width, (y + 1) * mask.width), v => '.#'[v]).join(''),
    );
    assert.equal(drawn, rows, what);
  }
});

test('masks without pixels are refused', () => {
  for (const [width, height] of [
    [0, 5],
    [5, -1],
    [2.5, 4],
    [Number.NaN, 4],
  ]) {
    assert.throws(
      () => polygonsToMask([], { width, height }),
      (e: unknown) => e instanceof UsageError && /^A mask of .* pixels cannot be drawn\.$/.test(e.message),
      `${width}x${height}`,
    );
  }
});

test.run();
