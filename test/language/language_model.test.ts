import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import '../backend.ts';
import { languageDumps } from '../dumps.ts';

for (const dump of languageDumps) {
  const { languageModel } = dump.model;
  test(`${dump.name}: image features and token embeddings are the encoder.inputs_embeds of PyTorch`, () =>
    dump.compare(
      'encoder.inputs_embeds',
      ['projector.image_features', 'text_input_ids'],
      (features: tf.Tensor3D, ids: tf.Tensor2D) => tf.concat([features, languageModel.embedPrompt(ids)], 1),
    ));
}

test.run();
