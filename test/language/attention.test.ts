import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Hooks, noHooks } from '../../src/hooks/hooks.ts';
import { type Attention, causalMask, paddingMask } from '../../src/language/attention.ts';
import { withoutLeaks } from '../backend.ts';
import { activationAt, languageDumps, memoryMask } from '../dumps.ts';

/** Shows a mask as text: `.` for a visible key, `#` for a hidden one. */
async function picture(make: () => tf.Tensor4D): Promise<{ shape: number[]; rows: string[] }> {
  return withoutLeaks(async () => {
    const mask = tf.tidy(make);
    const values = Array.from(await mask.data());
    assert.ok(values.every(value => value === 0 || value <= -1e8), String(values)); // biome-ignore format: one line
    const S = mask.shape[3];
    const rows = Array.from({ length: values.length / S }, (_, row) => values.slice(row * S, row * S + S).map(value => (value === 0 ? '.' : '#')).join('')); // biome-ignore format: one line
    mask.dispose();
    return { shape: mask.shape, rows };
  });
}

for (const [T, past, rows] of [
  [3, 0, ['.##', '..#', '...']],
  [1, 0, ['.']],
  [1, 4, ['.....']],
  [2, 3, ['....#', '.....']],
] as [number, number, string[]][]) {
  test(`${T} new tokens after ${past} see the tokens before them and themselves`, async () => {
    assert.equal(await picture(() => causalMask(T, past)), { shape: [1, 1, T, past + T], rows });
  });
}

test('padding is hidden from every query', async () => {
  const mask = () => paddingMask(tf.tensor2d([[1, 1, 0], [1, 1, 1]], [2, 3], 'int32')); // biome-ignore format: one line
  assert.equal(await picture(mask), { shape: [2, 1, 1, 3], rows: ['..#', '...'] });
});

type Run = (x: tf.Tensor3D, states: tf.Tensor3D, textMask: tf.Tensor2D) => tf.Tensor;

for (const dump of languageDumps) {
  const { encoder, decoder } = dump.model.languageModel;
  const states = `encoder.layer${encoder.layers.length - 1}.out`;

  /** Compares an attention's output and, where it is dumped, its pattern. */
  const attentionTest = (
    output: string,
    input: string,
    attention: Attention,
    keys: 'own' | 'states',
    mask: 'padding' | 'causal',
  ) => {
    const run =
      (h: Hooks): Run =>
      (x, states, textMask) => {
        const seen = keys === 'own' ? x : states;
        const added = mask === 'padding' ? memoryMask(seen, textMask) : causalMask(x.shape[1], 0);
        return attention.forward(x, attention.keyValue(seen, h), added, h);
      };
    const inputs = [input, states, 'text_attention_mask'];
    test(`${dump.name}: ${output} equals PyTorch's`, () => dump.compare(output, inputs, run(noHooks)));
    if (!dump.has(`${output}_weights`)) return;
    test(`${dump.name}: ${output}_weights equal PyTorch's`, () =>
      dump.compare(`${output}_weights`, inputs, (...tensors: Parameters<Run>) =>
        activationAt('hook_pattern', h => run(h)(...tensors)),
      ));
  };

  for (const [i, { selfAttn }] of encoder.layers.entries()) {
    const input = i === 0 ? 'encoder.embed' : `encoder.layer${i - 1}.out`;
    attentionTest(`encoder.layer${i}.self_attn`, input, selfAttn, 'own', 'padding');
  }
  for (const [i, { selfAttn, encoderAttn }] of decoder.layers.entries()) {
    const input = i === 0 ? 'decoder.embed' : `decoder.layer${i - 1}.out`;
    attentionTest(`decoder.layer${i}.self_attn`, input, selfAttn, 'own', 'causal');
    attentionTest(`decoder.layer${i}.cross_attn`, `decoder.layer${i}.self_attn_norm`, encoderAttn, 'states', 'padding');
  }
}

test.run();
