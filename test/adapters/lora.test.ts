import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createLora, type Lora, type LoraOptions } from '../../src/adapters/lora.ts';
import { UsageError } from '../../src/errors.ts';
import type { Parameter } from '../../src/nn/params.ts';
import { withoutLeaks } from '../backend.ts';
import { openSubject } from '../internals/subject.ts';
import { referenceJson } from '../reference.ts';

const { model, inputs } = await openSubject();
const { dModel: D, vocabSize: V } = model.config.text;

/** Runs `body` with a new adapter and disposes it. */
const withLora = (options: LoraOptions, body: (lora: Lora) => Promise<void> | void) =>
  withoutLeaks(async () => {
    const lora = createLora(model, options);
    await Promise.resolve(body(lora)).finally(() => lora.dispose());
  });

const valuesOf = async (parameter: Parameter) => (await parameter.value.data()) as Float32Array;
const rms = (values: Float32Array): number => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
const mean = (values: Float32Array): number => values.reduce((sum, x) => sum + x, 0) / values.length;

const q = 'language_model.encoder.layers.0.self_attn.q_proj';
const conv = 'vision_tower.convs.1.conv';

test('A and B have the shapes of PEFT files', () =>
  withLora({ targets: [q, conv, 'lm_head'], r: 3 }, lora => {
    const [out, inner] = model.parameters.get(`${conv}.weight`)!.shape;
    assert.equal(
      lora.parameters.map(({ name, shape }) => [name, shape]),
      [
        [`${conv}.lora_A.weight`, [3, inner, 3, 3]],
        [`${conv}.lora_B.weight`, [out, 3, 1, 1]],
        [`${q}.lora_A.weight`, [3, D]],
        [`${q}.lora_B.weight`, [D, 3]],
        ['lm_head.lora_A.weight', [3, D]],
        ['lm_head.lora_B.weight', [V, 3]],
      ],
    );
    assert.is(lora.parameterCount, 3 * (9 * inner + out) + 3 * 2 * D + 3 * (D + V));
  }));

// PyTorch: kaiming_uniform_(a = √5) is uniform within 1/√fan_in.
for (const [module, fanIn] of [
  [q, D],
  [conv, 9 * model.config.vision.dimEmbed[0]],
] as const) {
  test(`kaiming: A of ${module} is uniform within 1/√${fanIn}, B is 0`, () =>
    withLora({ targets: [module], r: 32 }, async lora => {
      const { a, b } = lora.layers.get(module)!;
      const values = await valuesOf(a);
      const bound = 1 / Math.sqrt(fanIn);
      const largest = Math.max(...values.map(Math.abs));
      assert.ok(largest <= bound && largest > 0.99 * bound, `largest ${largest} of ${bound}`);
      const deviation = bound / Math.sqrt(3);
      assert.ok(Math.abs(rms(values) / deviation - 1) < 0.05, `deviation ${rms(values)}, expected ${deviation}`);
      assert.ok(Math.abs(mean(values)) < (4 * deviation) / Math.sqrt(values.length), `mean ${mean(values)}`);
      assert.ok((await valuesOf(b)).every(x => x === 0));
    }));

  test(`gaussian: A of ${module} is normal with a deviation of 1/r`, () =>
    withLora({ targets: [module], r: 20, init: 'gaussian' }, async lora => {
      const values = await valuesOf(lora.layers.get(module)!.a);
      assert.ok(Math.abs(rms(values) * 20 - 1) < 0.1, `deviation ${rms(values)}`);
      const beyond = values.filter(x => Math.abs(x) > 2 / 20).length / values.length;
      assert.ok(Math.abs(beyond - 0.0455) < 0.025, `${beyond} beyond two deviations`);
    }));
}

test('initial values of a layer depend on the seed, but not on the other layers', async () => {
  const first = async (options: LoraOptions) => {
    const lora = createLora(model, options);
    const values = await valuesOf(lora.layers.get(q)!.a);
    lora.dispose();
    return [...values];
  };
  const alone = await first({ targets: [q] });
  assert.equal(await first({ targets: ['q_proj', 'fc1'] }), alone);
  assert.not.equal(await first({ targets: [q], seed: 1 }), alone);
  const [a, b] = [createLora(model, { targets: ['q_proj'] }), createLora(model, { targets: ['q_proj'] })];
  assert.not.equal(await valuesOf(a.parameters[0]), await valuesOf(a.parameters[2]), 'two layers differ');
  assert.equal(await valuesOf(a.parameters[2]), await valuesOf(b.parameters[2]));
  a.dispose();
  b.dispose();
});

const scales: [what: string, options: LoraOptions, scale: number, r: number][] = [
  ["PEFT's defaults", {}, 1, 8],
  ['alpha / r', { r: 4, alpha: 6 }, 1.5, 4],
  ['alpha / √r', { r: 4, alpha: 6, rsLora: true }, 3, 4],
  ['a rank pattern', { r: 4, alpha: 6, rankPattern: { 'self_attn.q_proj': 2, q_proj: 3 } }, 3, 2],
  ['an alpha pattern', { r: 4, alpha: 6, alphaPattern: { '.*q_proj': 1 } }, 0.25, 4],
  ['patterns with √r', { r: 4, rsLora: true, rankPattern: { q_proj: 16 }, alphaPattern: { q_proj: 2 } }, 0.5, 16],
];
for (const [what, options, scale, r] of scales) {
  test(`scale: ${what}`, () =>
    withLora({ targets: [q], ...options }, lora => {
      const layer = lora.layers.get(q)!;
      assert.is(layer.scale, scale);
      assert.is(layer.a.shape[0], r);
      lora.scale = -0.5;
      assert.is(layer.scale, -0.5 * scale);
    }));
}

const norm = 'language_model.decoder.layernorm_embedding';
const biases: string[] = referenceJson('model/tiny-pad/names.json')
  .map(({ hf }: { hf: string }) => hf.replace(/^model\./, ''))
  .filter((name: string) => name.endsWith('.bias'));
const owned: [what: string, options: LoraOptions, own: string[]][] = [
  ['none', {}, []],
  ['biases of adapted layers', { bias: 'lora_only' }, [`${q}.bias`]],
  ['all biases', { bias: 'all' }, biases],
  ['a module', { modulesToSave: [norm] }, [`${norm}.weight`, `${norm}.bias`]],
  ['a tied head, which gets a separate weight', { modulesToSave: ['lm_head'] }, ['lm_head.weight']],
];
for (const [what, options, own] of owned) {
  test(`replaced parameters: ${what}`, () =>
    withLora({ targets: [q], ...options }, async lora => {
      assert.equal([...lora.own.keys()].sort(), [...own].sort());
      for (const parameter of lora.own.values()) {
        assert.equal(await valuesOf(parameter), await valuesOf(model.parameters.get(parameter.name)!), parameter.name);
        assert.is.not(parameter.value, model.parameters.get(parameter.name)!.value);
      }
    }));
}

test('modules trained in full are not adapted', () =>
  withLora({ targets: 'all-linear', modulesToSave: ['encoder'] }, lora => {
    assert.ok(lora.layers.has('language_model.decoder.layers.0.fc1'));
    assert.not.ok([...lora.layers.keys()].some(name => name.startsWith('language_model.encoder.')));
    assert.ok(lora.own.has(`${q}.weight`));
  }));

test('inputDropout receives the name of the layer', () =>
  withLora({ targets: [q] }, lora => {
    const layer = lora.layers.get(q)!;
    const x = tf.ones([2, 2]);
    assert.is(layer.drop(x), x);
    const seen: string[] = [];
    lora.inputDropout = (x, name) => {
      seen.push(name);
      return x;
    };
    layer.drop(x);
    assert.equal(seen, [q]);
    x.dispose();
  }));

const refused: [what: string, options: LoraOptions, message: RegExp][] = [
  ['a rank of 0', { r: 0 }, /^r must be a whole number of at least 1, not 0/],
  [
    'a fractional rank',
    { rankPattern: { q_proj: 1.5 } },
    /^rankPattern must be an object whose values are each a whole number/,
  ],
  ['an alpha of 0', { alpha: 0 }, /^alpha must be a number above 0/],
  ['a dropout rate of 1', { dropout: 1 }, /dropout must be at least 0 and below 1/],
  ['an unknown initialisation', { init: 'pissa' as 'kaiming' }, /init must be kaiming or gaussian, not "pissa"/],
  [
    'an unknown option',
    { rank: 4 } as LoraOptions,
    /^LoRA has no option rank\. Did you mean rankPattern\?|Its options are/,
  ],
  ['an unknown bias', { bias: 'some' as 'all' }, /bias must be none, lora_only or all/],
  [
    'a pattern that matches no adapted layer',
    { rankPattern: { k_proj: 2 } },
    /pattern k_proj matches no adapted layer/,
  ],
  ['an unknown module to save', { modulesToSave: ['classifier'] }, /nothing is named classifier/],
];
for (const [what, options, message] of refused) {
  test(`refused: ${what}`, () =>
    withoutLeaks(() =>
      assert.throws(
        () => createLora(model, { targets: [q], ...options }),
        (error: Error) => error instanceof UsageError && message.test(error.message),
      ),
    ));
}

test.after(async () => {
  model.dispose();
  await inputs.close();
});
test.run();
