import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import { noHooks } from '../../src/hooks/hooks.ts';
import type { LayerNorm } from '../../src/nn/layers.ts';
import { gelu } from '../../src/nn/ops.ts';
import '../backend.ts';
import { languageDumps, memoryMask } from '../dumps.ts';

for (const dump of languageDumps) {
  const { encoder } = dump.model.languageModel;

  test(`${dump.name}: encoder.embed equals PyTorch's`, () =>
    dump.compare('encoder.embed', ['encoder.inputs_embeds'], (embeds: tf.Tensor3D) => {
      return encoder.layernormEmbedding.forward(tf.add(embeds, encoder.positions(embeds.shape[1])));
    }));

  for (const [i, layer] of encoder.layers.entries()) {
    const at = `encoder.layer${i}`;
    const input = i === 0 ? 'encoder.embed' : `encoder.layer${i - 1}.out`;
    const { selfAttnLayerNorm, fc1, fc2, finalLayerNorm } = layer;

    test(`${dump.name}: ${at} equals PyTorch's`, () =>
      dump.compare(`${at}.out`, [input, 'text_attention_mask'], (x: tf.Tensor3D, mask: tf.Tensor2D) => {
        return layer.forward(x, memoryMask(x, mask), noHooks);
      }));

    test(`${dump.name}: what follows the attention of ${at} equals PyTorch's`, async () => {
      const norm = `${at}.self_attn_norm`;
      const add = (norm: LayerNorm) => (x: tf.Tensor3D, y: tf.Tensor3D) => norm.forward(tf.add(x, y));
      await dump.compare(norm, [input, `${at}.self_attn`], add(selfAttnLayerNorm));
      await dump.compare(`${at}.ffn`, [norm], (x: tf.Tensor3D) => fc2.forward(gelu(fc1.forward(x))));
      await dump.compare(`${at}.out`, [norm, `${at}.ffn`], add(finalLayerNorm));
    });
  }

  test(`${dump.name}: the whole encoder equals PyTorch's`, () =>
    dump.compare(
      `encoder.layer${encoder.layers.length - 1}.out`,
      ['encoder.inputs_embeds', 'text_attention_mask'],
      (embeds: tf.Tensor3D, mask: tf.Tensor2D) => encoder.forward(embeds, memoryMask(embeds, mask), noHooks),
    ));
}

test.run();
