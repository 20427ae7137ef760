import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import type { ImageSize } from '../../src/geometry/types.ts';
import {
  binsToTokens,
  boxesToText,
  boxToTokens,
  dequantizeBox,
  dequantizePoints,
  pointsToTokens,
  quantizeBox,
  quantizePoints,
} from '../../src/text/locations.ts';
import { constructPrompt } from '../../src/text/tasks.ts';
import { referenceJson } from '../reference.ts';

const file = referenceJson('processor/quantize.json');
const imageSize = ([width, height]: [number, number]): ImageSize => ({ width, height });

test('pixels become bins and tokens, and bins pixels', () => {
  let compared = 0;
  for (const { kind, image_size, values, bins, tokens, dequantized_ms, dequantized_hf } of file.quantize) {
    const image = imageSize(image_size);
    const [quantize, dequantize] = kind === 'box' ? [quantizeBox, dequantizeBox] : [quantizePoints, dequantizePoints];
    for (const [i, value] of values.entries()) {
      const where = `${kind} ${i} at ${image_size}`;
      assert.equal(quantize(value, image), bins[i], where);
      assert.is(pointsToTokens(value, image), tokens[i], where);
      const pixels = dequantize(bins[i], image);
      assert.equal(pixels, dequantized_ms[i], where);
      assert.equal(pixels.map(Math.trunc), dequantized_hf[i], where);
      compared++;
    }
  }
  assert.ok(compared >= 300, `${compared} cases`);
});

test('bin centres are float32', () => {
  for (const { image_size, bins, dequantized_ms, dequantized_hf } of file.dequantize) {
    for (const [i, bin] of bins.entries()) {
      const pixels = dequantizePoints([bin, bin], imageSize(image_size));
      assert.equal(pixels, dequantized_ms[i], `bin ${bin} at ${image_size}`);
      assert.equal(pixels.map(Math.trunc), dequantized_hf[i], `bin ${bin} at ${image_size}`);
    }
  }
});

test('regions of prompts equal those of the reference', () => {
  for (const { task, image_size, box, text, prompt } of file.region_prompts) {
    assert.is(task + boxToTokens(box, imageSize(image_size)), text);
    assert.is(constructPrompt(text), prompt);
  }
});

test('training targets equal those of the reference', () => {
  for (const { kind, image_size, labels, boxes, points, target } of file.targets) {
    const image = imageSize(image_size);
    const text =
      kind === 'detection'
        ? boxesToText(
            boxes.map((box: number[], i: number) => ({ box, label: labels[i] })),
            image,
          )
        : pointsToTokens(points.flat(), image);
    assert.is(text, target);
  }
});

test('wrong coordinates and sizes are errors', () => {
  const image = { width: 640, height: 480 };
  const cases: [call: () => unknown, message: RegExp][] = [
    [() => quantizeBox([1, 2, 3], image), /^A box has 4 numbers x1,y1,x2,y2, not 3\.$/],
    [() => dequantizeBox([1, 2, 3, 4, 5], image), /^A box has 4 bins x1,y1,x2,y2, not 5\.$/],
    [() => boxToTokens([1, 2, Number.NaN, 4], image), /^Coordinate 2 is NaN/],
    [() => quantizePoints([Number.POSITIVE_INFINITY], image), /^Coordinate 0 is Infinity/],
    [() => quantizePoints([1, 2], { width: 0, height: 480 }), /^The image size is 0x480, expected/],
    [() => dequantizePoints([1, 2], { width: 640, height: Number.NaN }), /^The image size is 640xNaN, expected/],
  ];
  for (const [call, message] of cases) {
    assert.throws(call, (e: unknown) => e instanceof UsageError && message.test(e.message), String(message));
  }
  assert.is(binsToTokens([]), '');
});

test.run();
