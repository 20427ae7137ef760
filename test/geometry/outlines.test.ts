import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { maskIou } from '../../src/geometry/iou.ts';
import { type Mask, polygonsToMask } from '../../src/geometry/masks.ts';
import { maskOutlines } from '../../src/geometry/outlines.ts';
import { randomStream } from '../../src/random.ts';

const drawn = (...rows: string[]): Mask => ({
  width: rows[0].length,
  height: rows.length,
  data: Uint8Array.from(rows.join(''), character => (character === '#' ? 1 : 0)),
});

test('outlines follow pixel edges clockwise, with holes filled', () => {
  const cases: [about: string, mask: Mask, expected: number[][]][] = [
    ['nothing', drawn('...', '...'), []],
    ['one pixel', drawn('...', '.#.'), [[1, 1, 2, 1, 2, 2, 1, 2]]],
    ['a rectangle up to the image borders', drawn('##', '##', '##'), [[0, 0, 2, 0, 2, 3, 0, 3]]],
    ['an L', drawn('#.', '##'), [[0, 0, 1, 0, 1, 1, 2, 1, 2, 2, 0, 2]]],
    ['a ring', drawn('###', '#.#', '###'), [[0, 0, 3, 0, 3, 3, 0, 3]]],
    [
      'two parts',
      drawn('#.#', '#.#'),
      [
        [0, 0, 1, 0, 1, 2, 0, 2],
        [2, 0, 3, 0, 3, 2, 2, 2],
      ],
    ],
    ['touching corners', drawn('#.', '.#'), [[0, 0, 1, 0, 1, 1, 2, 1, 2, 2, 1, 2, 1, 1, 0, 1]]],
    ['touching corners, mirrored', drawn('.#', '#.'), [[1, 0, 2, 0, 2, 1, 1, 1, 1, 2, 0, 2, 0, 1, 1, 1]]],
  ];
  for (const [about, mask, expected] of cases) assert.equal(maskOutlines(mask, 0), expected, about);
});

/** Area by the shoelace formula, exact for outlines along pixel edges. */
const area = (polygon: number[]): number => {
  let sum = 0;
  for (let i = 0; i < polygon.length; i += 2) {
    const next = (i + 2) % polygon.length;
    sum += polygon[i] * polygon[next + 1] - polygon[next] * polygon[i + 1];
  }
  return sum / 2;
};

test('random masks: exact areas without tolerance, nearly the same mask from few points with it', () => {
  const random = randomStream(1, 'blobs');
  for (let round = 0; round < 30; round++) {
    const image = { width: 120, height: 90 };
    const [cx, cy, r] = [30 + random() * 60, 30 + random() * 30, 10 + random() * 20];
    const corners = Array.from({ length: 14 }, (_, i) => {
      const [angle, length] = [(i / 14) * 2 * Math.PI, r * (0.6 + 0.5 * random())];
      return [cx + length * Math.cos(angle), cy + length * Math.sin(angle)];
    });
    const mask = polygonsToMask([corners.flat()], image);
    const pixels = mask.data.reduce((sum, value) => sum + value, 0);
    const exact = maskOutlines(mask, 0);
    assert.is(
      exact.reduce((sum, polygon) => sum + area(polygon), 0),
      pixels,
      `round ${round}`,
    );
    const simple = maskOutlines(mask);
    const iou = maskIou(polygonsToMask(simple, image), mask);
    assert.ok(iou > 0.85, `round ${round}: IoU ${iou}`);
    assert.ok(Math.abs(simple.reduce((sum, polygon) => sum + area(polygon), 0) / pixels - 1) < 0.08, `round ${round}`);
    const points = simple.flat().length / 2;
    assert.ok(points < 50, `round ${round}: ${points} points`);
  }
});

test.run();
