import type * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import { noHooks } from '../../src/hooks/hooks.ts';
import '../backend.ts';
import { languageDumps } from '../dumps.ts';

for (const dump of languageDumps) {
  const { lmHead, languageModel } = dump.model;
  const hidden = `decoder.layer${languageModel.decoder.layers.length - 1}.out`;

  test(`${dump.name}: logits equal PyTorch's`, () =>
    dump.compare('logits', [hidden], (x: tf.Tensor3D) => lmHead.forward(x, noHooks)));
}

test.run();
