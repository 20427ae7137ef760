import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { noHooks } from '../../src/hooks/hooks.ts';
import { mapSize } from '../../src/vision/davit.ts';
import { withoutLeaks } from '../backend.ts';
import { dumpedBlocks, visionDumps } from '../dumps.ts';

const [{ model }] = visionDumps;
const { vision } = model.config;

// Sizes of the last map as in PyTorch: each convolution returns floor((n + 2 · padding - kernel) / stride) + 1.
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
  test(`an image of ${width}×${height} has a last map of ${columns}×${rows}`, async () => {
    assert.equal(mapSize(vision, height, width), [rows, columns]);
    if (height > 128) return; // computed only for small images
    await withoutLeaks(() => {
      const map = tf.tidy(() => model.visionTower.forward(tf.zeros([1, height, width, 3]), noHooks));
      assert.equal(map.shape, [1, rows, columns, vision.dimEmbed.at(-1)!]);
      map.dispose();
    });
  });
}

for (const dump of visionDumps) {
  const { convs, blocks } = dump.model.visionTower;
  for (const [stage, conv] of convs.entries()) {
    const embed = `vision.stage${stage}.conv_embed`;
    const input =
      stage === 0 ? 'pixel_values' : `vision.stage${stage - 1}.block${blocks[stage - 1].length - 1}.channel.out`;
    test(`${dump.name}: ${embed} equals PyTorch's`, () =>
      dump.compare(embed, [input], (x: tf.Tensor4D) => conv.forward(x, noHooks)));
  }

  for (const { block, input, at } of [...dumpedBlocks(dump.model, 'spatial'), ...dumpedBlocks(dump.model, 'channel')]) {
    test(`${dump.name}: ${at} equals PyTorch's`, () =>
      dump.compare(`${at}.out`, [input], (x: tf.Tensor4D) => block.forward(x, noHooks)));

    if (!dump.has(`${at}.conv1`)) continue; // the dump of an image that is not square has only the attention's output
    const { conv1, conv2, norm2, ffn } = block;
    test(`${dump.name}: ${at}.conv1, .conv2 and .ffn equal PyTorch's`, async () => {
      const stream = [input, `${at}.conv1`, `${at}.attn`, `${at}.conv2`]; // the residual stream is their sum
      await dump.compare(`${at}.conv1`, stream.slice(0, 1), (x: tf.Tensor4D) => conv1.forward(x));
      await dump.compare(`${at}.conv2`, stream.slice(0, 3), (...x: tf.Tensor4D[]) => conv2.forward(tf.addN(x)));
      await dump.compare(`${at}.ffn`, stream, (...x: tf.Tensor4D[]) => ffn.forward(norm2.forward(tf.addN(x)), noHooks));
    });
  }
}

test.run();
