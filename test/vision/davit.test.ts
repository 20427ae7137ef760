import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { noHooks } from '../../src/hooks/hooks.ts';
import { mapSize } from '../../src/vision/davit.ts';
import { withoutLeaks } from '../backend.ts';
import { openSubject } from '../internals/subject.ts';

const { model } = await openSubject();
const { vision } = model.config;

/** Sizes of the last map as PyTorch's convolutions make them: each side floor((n + 2 · padding - kernel) / stride) + 1. */
for (const [height, width, rows, columns] of [
  [768, 768, 24, 24],
  [1024, 1024, 32, 32],
  [384, 768, 12, 24],
  [96, 96, 3, 3],
  [64, 128, 2, 4],
  [97, 33, 4, 2], // 25, 13, 7, 4 and 9, 5, 3, 2
  [32, 32, 1, 1],
  [1, 1, 1, 1],
] as const) {
  test(`an image of ${width}×${height} makes a map of ${columns}×${rows}`, async () => {
    assert.equal(mapSize(vision, height, width), [rows, columns]);
    if (height > 128) return; // what is small enough is computed
    await withoutLeaks(() => {
      const map = tf.tidy(() => model.visionTower.forward(tf.zeros([1, height, width, 3]), noHooks));
      assert.equal(map.shape, [1, rows, columns, vision.dimEmbed.at(-1)!]);
      map.dispose();
    });
  });
}

test.run();
