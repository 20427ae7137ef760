import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { cocoMask } from '../../src/geometry/coco_mask.ts';
import { type Mask, maskArea, maskBounds, polygonsToMask } from '../../src/geometry/masks.ts';
import { compressCounts, encodeRle } from '../../src/geometry/rle.ts';
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

// [width, height, polygons, run lengths of pycocotools 2.0.11: mask.merge(mask.frPyObjects(polygons, height, width))]
// biome-ignore format: one case a line
const cocoCases: [number, number, number[][], string][] = [
  [21, 10, [[-2.78, -0.68, -2.49, 1.0, 9.0, 1.37, 8.28, -0.0, 14.34, 11.27, 13.0, 12.0, 12.0, 2.0, 11.7, 2.32], [-1.17, 6.9, -1.34, -1.0, 14.0, 7.5, 18.7, 6.2], [5.0, 8.0, -1.8, 5.4, 17.2, 7.0, -0.7, 0.3, 0.3, 3.9]], '07301O1O010N10NMM33MN250N2003N0NJ040300000h0'],
  [31, 17, [[20.1, 7.24, 36.7, -1.0, 4.0, 4.6, 20.88, 16.6, 33.3, 16.0, 30.0, 18.25, 26.4, 17.8, 28.0, -1.34]], 'i22?001O1O001N2O1O001O1O0O2O1O1O00FN61IO80H170G1:30KF2;NE2080F1<20O1N'],
  [17, 4, [[18.79, 1.0, 3.5, 3.0, 5.0, 5.0, -3.03, 2.0]], '2131O0000O100030M000000000007'],
  [15, 8, [[9.01, 2.0, 6.0, 3.6, 11.62, 8.0, 9.56, 5.0]], 'c1171N12O1Oi0'],
  [21, 8, [[7.0, 5.22, 16.0, 2.49, 8.0, 7.9, 4.0, 1.0]], '[118001N1N01O1O010Of1'],
  [28, 27, [[17.84, 17.0, 17.07, 19.9, 23.0, 13.8, 21.0, 0.92]], 'm>1e04L4L42N7In3'],
  [9, 2, [[7.0, 0.4, 3.0, 1.37, 8.0, 1.67, 7.0, 0.65, 2.5, 0.29, 8.7, 0.4, 6.0, 1.0]], '<42'],
  [29, 12, [[12.09, 11.0, 21.69, 9.1, 8.52, 3.2, 21.0, 5.0]], '_31;0=0C0J001N020NO32KO541LJ06OK1\\3'],
];

for (const [width, height, polygons, counts] of cocoCases) {
  test(`a mask of ${polygons.length} polygons as COCO's API draws it: ${counts}`, () => {
    assert.is(compressCounts(encodeRle(cocoMask(polygons, { width, height })).counts), counts);
  });
}

test.run();
