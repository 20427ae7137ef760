import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { labelColors, textColor, toLab } from '../../src/drawing/colors.ts';

test("OKLab has the coordinates of CSS Color 4's named colours", () => {
  const known: [rgb: number[], lab: number[]][] = [
    [
      [255, 255, 255],
      [1, 0, 0],
    ],
    [
      [255, 0, 0],
      [0.62796, 0.22486, 0.12585],
    ],
    [
      [0, 128, 0],
      [0.51975, -0.1403, 0.10768],
    ],
    [
      [0, 0, 255],
      [0.45201, -0.03246, -0.31153],
    ],
  ];
  for (const [rgb, lab] of known) {
    const apart = Math.max(...toLab(rgb).map((value, i) => Math.abs(value - lab[i])));
    assert.ok(apart < 2e-4, `${rgb}: ${toLab(rgb)}`);
  }
});

test('equal labels have equal colours, and objects without a label different ones', () => {
  const colorOf = labelColors();
  const colors = ['cat', 'dog', 'cat', '', ''].map(label => colorOf(label));
  assert.is(colors[2], colors[0]);
  assert.is(new Set(colors).size, 4);
});

test('the colour underneath is passed over, if it covers more than a quarter', () => {
  const usual = labelColors()('cat');
  const rgb = [1, 3, 5].map(i => Number.parseInt(usual.slice(i, i + 2), 16));
  const [same, black] = [toLab(rgb), toLab([0, 0, 0])];
  assert.is.not(labelColors()('cat', () => [same]), usual); // biome-ignore format: one line
  assert.is.not(labelColors()('cat', () => [same, same, black, black, black]), usual); // biome-ignore format: one line
  assert.is(labelColors()('cat', () => [same, black, black, black, black]), usual); // biome-ignore format: one line
});

test('texts are black on light colours and white on dark ones', () => {
  assert.equal(['#ffe14d', '#3d5afe'].map(textColor), ['#101114', '#ffffff']); // biome-ignore format: one line
});

test.run();
