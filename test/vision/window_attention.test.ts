import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import { noHooks } from '../../src/hooks/hooks.ts';
import '../backend.ts';
import { dumpedBlocks, visionDumps } from '../dumps.ts';

for (const dump of visionDumps) {
  for (const { block, input, at } of dumpedBlocks(dump.model, 'spatial')) {
    if (!dump.has(`${at}.attn`)) continue;
    const { conv1, norm1, attention } = block;
    test(`${dump.name}: ${at}.attn equals PyTorch's`, () =>
      dump.compare(`${at}.attn`, [input], (x: tf.Tensor4D) => {
        return attention.forward(norm1.forward(tf.add(x, conv1.forward(x))), noHooks);
      }));
  }
}

test.run();
