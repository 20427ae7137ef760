import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import { noHooks } from '../../src/hooks/hooks.ts';
import { causalMask } from '../../src/language/attention.ts';
import type { LayerNorm } from '../../src/nn/layers.ts';
import { gelu } from '../../src/nn/ops.ts';
import '../backend.ts';
import { languageDumps, memoryMask } from '../dumps.ts';

for (const dump of languageDumps) {
  const { languageModel } = dump.model;
  const { encoder, decoder } = languageModel;
  const states = `encoder.layer${encoder.layers.length - 1}.out`;

  test(`${dump.name}: decoder.embed equals PyTorch's`, () =>
    dump.compare('decoder.embed', ['decoder_input_ids'], (ids: tf.Tensor2D) => {
      const embeds = languageModel.embedAnswer(ids);
      return decoder.layernormEmbedding.forward(tf.add(embeds, decoder.positions(0, embeds.shape[1])));
    }));

  for (const [i, layer] of decoder.layers.entries()) {
    const at = `decoder.layer${i}`;
    const input = i === 0 ? 'decoder.embed' : `decoder.layer${i - 1}.out`;
    const inputs = [input, states, 'text_attention_mask'];

    test(`${dump.name}: ${at} equals PyTorch's`, () =>
      dump.compare(`${at}.out`, inputs, (x: tf.Tensor3D, states: tf.Tensor3D, textMask: tf.Tensor2D) => {
        const mask = memoryMask(states, textMask);
        return layer.forward(x, causalMask(x.shape[1], 0), { states, mask }, null, noHooks);
      }));

    test(`${dump.name}: ${at} equals PyTorch's token by token, with a cache`, () =>
      dump.compare(`${at}.out`, inputs, (x: tf.Tensor3D, states: tf.Tensor3D, textMask: tf.Tensor2D) => {
        const memory = { states, mask: memoryMask(states, textMask) };
        const caches = decoder.newCaches(states, noHooks);
        const tokens: tf.Tensor3D[] = tf.split(x, x.shape[1], 1); // [B, 1, D] each
        const outputs = tokens.map(token => layer.forward(token, null, memory, caches[i], noHooks));
        for (const cache of caches) cache.dispose();
        return tf.concat(outputs, 1); // [B, T, D]
      }));

    test(`${dump.name}: the norms and the MLP of ${at} equal PyTorch's`, async () => {
      const [selfNorm, crossNorm] = [`${at}.self_attn_norm`, `${at}.cross_attn_norm`];
      const add = (norm: LayerNorm) => (x: tf.Tensor3D, y: tf.Tensor3D) => norm.forward(tf.add(x, y));
      await dump.compare(selfNorm, [input, `${at}.self_attn`], add(layer.selfAttnLayerNorm));
      await dump.compare(crossNorm, [selfNorm, `${at}.cross_attn`], add(layer.encoderAttnLayerNorm));
      await dump.compare(`${at}.ffn`, [crossNorm], (x: tf.Tensor3D) => layer.fc2.forward(gelu(layer.fc1.forward(x))));
      await dump.compare(`${at}.out`, [crossNorm, `${at}.ffn`], add(layer.finalLayerNorm));
    });
  }

  test(`${dump.name}: the whole decoder equals PyTorch's`, () =>
    dump.compare(
      `decoder.layer${decoder.layers.length - 1}.out`,
      ['decoder_input_ids', states, 'text_attention_mask'],
      (ids: tf.Tensor2D, states: tf.Tensor3D, textMask: tf.Tensor2D) => {
        const memory = { states, mask: memoryMask(states, textMask) };
        return decoder.forward(languageModel.embedAnswer(ids), memory, null, noHooks);
      },
    ));
}

test.run();
