/**
 * Gradients at hook points, compared with finite differences and, by the chain rule, with PyTorch's parameter
 * gradients.
 */
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { ActivationCache } from '../../src/activations/cache.ts';
import { Florence2Error, UsageError } from '../../src/errors.ts';
import { Capture } from '../../src/hooks/capture.ts';
import { forcedLogits } from '../../src/internals/forced_pass.ts';
import { gradientsAt, gradientsOfPass } from '../../src/internals/gradients_at.ts';
import { answerLogProb, logitDifference, logitOf, type Metric } from '../../src/internals/logit_metrics.ts';
import { Question } from '../../src/internals/question.ts';
import { GRADIENT } from '../../src/parity/tolerance.ts';
import { withTrainingSetup } from '../../src/parity/training_steps.ts';
import { trainableParameters } from '../../src/training/trainable.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { hasReference, reference } from '../reference.ts';
import { readTensors } from '../training/tensors.ts';
import { openSubject } from './subject.ts';
import { openTiny, street } from './tiny_model.ts';

const model = await openTiny();
const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A green car' });
const decoder = 'language_model.decoder.layers';
const noVision = testBackend === 'wasm';

/** Returns the metric with `change` added to the activation at a point, or to the pixels for 'pixels'. */
async function metricAt(metric: Metric, point: string, change: tf.Tensor): Promise<number> {
  const moved = () => {
    const isPixels = point === 'pixels';
    const options = isPixels ? { pixels: tf.add(question.pixels, change) as tf.Tensor4D } : {};
    const remove = isPixels ? () => {} : model.addHook(point, activation => tf.add(activation, change));
    try {
      return tf.sum(metric(forcedLogits(model, question, options), question));
    } finally {
      remove();
    }
  };
  return (await numbers(moved))[0];
}

/** Downloads and disposes a tensor. */
async function numbers(make: () => tf.Tensor): Promise<Float32Array> {
  const made = tf.tidy(make);
  return (await download(made)).values;
}

const values = async (cache: ActivationCache, point: string) => (await cache.array(point)).values;

const isVision = (point: string) => /^(pixels|vision_tower)/.test(point);
const metrics: [name: string, metric: Metric][] = [
  ['answerLogProb', answerLogProb()],
  ['logitOf', logitOf(1, 700)],
  ['logitDifference', logitDifference(0, 5, 900)],
];

for (const [point, [name, metric]] of [
  ['pixels', metrics[0]],
  ['vision_tower.convs.1.hook_embed', metrics[1]],
  ['vision_tower.blocks.1.0.spatial_block.window_attn.hook_pattern', metrics[0]],
  ['vision_tower.blocks.2.0.channel_block.channel_attn.hook_attn_scores', metrics[0]],
  ['multi_modal_projector.hook_image_features', metrics[0]],
  ['language_model.encoder.layers.0.hook_mlp_out', metrics[2]],
  ['language_model.encoder.layers.1.self_attn.hook_v', metrics[0]],
  [`${decoder}.0.hook_post`, metrics[1]],
  [`${decoder}.1.encoder_attn.hook_attn_scores`, metrics[0]],
  [`${decoder}.1.encoder_attn.hook_z`, metrics[2]],
  [`${decoder}.1.hook_resid_post`, metrics[0]],
  ['hook_logits', metrics[0]],
] as [string, (typeof metrics)[number]][]) {
  const run = noVision && isVision(point) ? test.skip : test;
  run(`${name} moves with ${point} as its gradient says`, async () => {
    await withoutLeaks(async () => {
      const cache = gradientsAt(model, question, metric, point);
      assert.equal(cache.names, [point]);
      const gradient = cache.get(point);
      const [norm] = await numbers(() => tf.norm(gradient));
      assert.ok(norm > 1e-4, `the gradient is ${norm}`);
      // Along the gradient, and along a direction with random signs.
      const signs = tf.tidy(() => tf.sign(tf.randomNormal(gradient.shape, 0, 1, 'float32', 1)));
      for (const direction of [tf.clone(gradient), signs]) {
        const [slope, length] = await numbers(() =>
          tf.stack([tf.sum(tf.mul(gradient, direction)), tf.norm(direction)]),
        );
        // A step for which the metric changes by about 0.05 along the gradient.
        const step = 0.05 / (norm * length);
        const [up, down] = [tf.mul(direction, step), tf.mul(direction, -step)];
        const measured = (await metricAt(metric, point, up)) - (await metricAt(metric, point, down));
        tf.dispose([up, down, direction]);
        const expected = 2 * step * slope;
        const error = Math.abs(measured - expected) / 0.1;
        assert.ok(error < 0.01, `moved by ${measured}, the gradient says ${expected}`);
      }
      cache.dispose();
    });
  });
}

test('several points together have the same gradients as each alone, in execution order', async () => {
  await withoutLeaks(async () => {
    const points = ['language_model.encoder.layers.1.hook_mlp_out', `${decoder}.0.hook_resid_mid`, 'hook_logits'];
    const together = gradientsAt(model, question, answerLogProb(), [...points].reverse());
    assert.equal(together.names, points);
    for (const point of points) {
      const alone = gradientsAt(model, question, answerLogProb(), point);
      const { maxAbs } = difference(await values(alone, point), await values(together, point));
      assert.ok(maxAbs < 2e-5, `${point}: ${maxAbs}`); // alone, the pass starts later, from values computed in another way
      assert.equal(alone.shape(point), together.shape(point));
      alone.dispose();
    }
    together.dispose();
  });
});

test('rows have separate gradients when hooks treat them differently', async () => {
  await withoutLeaks(async () => {
    const point = `${decoder}.1.hook_resid_mid`;
    const remove = model.addHook(`${decoder}.0.hook_mlp_out`, x => {
      return tf.mul(x, tf.tensor3d([0, 1], [2, 1, 1])); // the first row is ablated
    });
    const both = gradientsAt(model, question, answerLogProb(), point, { rows: 2 });
    remove();
    const clean = gradientsAt(model, question, answerLogProb(), point);
    const [ablated, untouched] = tf.unstack(both.get(point));
    const own = await values(clean, point);
    assert.ok(difference((await untouched.data()) as Float32Array, own).relative < 1e-4);
    assert.ok(difference((await ablated.data()) as Float32Array, own).relative > 1e-2);
    tf.dispose([ablated, untouched]);
    both.dispose();
    clean.dispose();
  });
});

test('the gradient is zero where the metric does not depend on the activation', async () => {
  await withoutLeaks(async () => {
    const cache = gradientsAt(model, question, logitOf(0, 5), [`${decoder}.1.hook_mlp_out`]);
    const [, T, D] = cache.shape(`${decoder}.1.hook_mlp_out`);
    const gradient = await values(cache, `${decoder}.1.hook_mlp_out`);
    assert.ok(gradient.subarray(0, D).some(value => value !== 0));
    assert.is(gradient.subarray(D, T * D).filter(value => value !== 0).length, 0, 'later positions');
    const cut = model.addHook(`${decoder}.1.hook_resid_mid`, x => tf.ones(x.shape));
    const before = gradientsAt(model, question, logitOf(0, 5), `${decoder}.0.hook_mlp_out`);
    cut();
    const none = await values(before, `${decoder}.0.hook_mlp_out`);
    assert.ok(none.every(value => value === 0));
    cache.dispose();
    before.dispose();
  });
});

test('wrong arguments are errors without leaks', async () => {
  for (const [attempt, kind, message] of [
    [() => gradientsAt(model, question, answerLogProb(), `${decoder}.0.hook_mlp`), UsageError, /hook_mlp_out\?/],
    [
      () => gradientsAt(model, question, logitOf(99, 5), 'hook_logits'),
      UsageError,
      /^Position 99 does not exist; the answer has positions 0 to \d+\.$/,
    ],
    [
      () => gradientsAt(model, question, logitOf(0, 1e6), 'hook_logits'),
      UsageError,
      /^Token id 1000000 does not exist/,
    ],
  ] as [() => ActivationCache, new (message: string) => Error, RegExp][]) {
    await withoutLeaks(() => {
      let error: unknown;
      try {
        attempt();
      } catch (thrown) {
        error = thrown;
      }
      assert.instance(error, kind);
      assert.match((error as Error).message, message);
    });
  }
});

(noVision ? test : test.skip)('a backend without the gradients of the vision tower throws an error', async () => {
  for (const point of ['pixels', 'vision_tower.blocks.0.0.spatial_block.hook_mlp_out']) {
    await withoutLeaks(() => {
      let error: unknown;
      try {
        gradientsAt(model, question, answerLogProb(), point);
      } catch (thrown) {
        error = thrown;
      }
      assert.instance(error, Florence2Error);
      assert.match((error as Error).message, /^The wasm backend cannot compute these gradients.*Use tensorflow/);
    });
  }
});

// ---------------------------------------------------------------------------------- chain rule, compared with PyTorch

/** x [..., C] or [B, heads, T, d] -> [N, C] */
function rows(cache: ActivationCache, point: string): tf.Tensor2D {
  const x = cache.get(point);
  const isHeads = /hook_[qkvz]$/.test(point);
  const merged = isHeads ? tf.transpose(x, [0, 2, 1, 3]) : x;
  const C = isHeads ? x.shape[1]! * x.shape[3]! : x.shape.at(-1)!;
  return tf.reshape(merged, [-1, C]);
}

/** Computes a parameter's gradient, in the checkpoint's layout, from activations and gradients at hook points. */
type ChainRule = (activations: ActivationCache, gradients: ActivationCache) => tf.Tensor;

/** For y = x Wᵀ + b, W [out, in]. */
const weight =
  (x: string, y: string): ChainRule =>
  (activations, gradients) =>
    tf.matMul(rows(gradients, y), rows(activations, x), true);

/** For a parameter that is added at all positions. */
const bias =
  (y: string): ChainRule =>
  (_, gradients) =>
    tf.sum(rows(gradients, y), 0);

function languageRules(): Record<string, ChainRule> {
  const rules: Record<string, ChainRule> = {};
  const linear = (name: string, x: string, y: string) => {
    rules[`${name}.weight`] = weight(x, y);
    if (!name.endsWith('k_proj')) rules[`${name}.bias`] = bias(y); // exactly zero but for rounding
  };
  for (const side of ['encoder', 'decoder']) {
    for (const layer of [0, 1]) {
      const at = `language_model.${side}.layers.${layer}`;
      for (const p of ['q', 'k', 'v'])
        linear(`${at}.self_attn.${p}_proj`, `${at}.hook_resid_pre`, `${at}.self_attn.hook_${p}`);
      linear(`${at}.self_attn.out_proj`, `${at}.self_attn.hook_z`, `${at}.hook_attn_out`);
      rules[`${at}.self_attn_layer_norm.bias`] = bias(`${at}.hook_resid_mid`);
      linear(`${at}.fc2`, `${at}.hook_post`, `${at}.hook_mlp_out`);
      rules[`${at}.final_layer_norm.bias`] = bias(`${at}.hook_resid_post`);
      if (side === 'encoder') continue;
      const cross = `${at}.encoder_attn`;
      linear(`${cross}.q_proj`, `${at}.hook_resid_mid`, `${cross}.hook_q`);
      for (const p of ['k', 'v'])
        linear(`${cross}.${p}_proj`, 'language_model.encoder.layers.1.hook_resid_post', `${cross}.hook_${p}`);
      linear(`${cross}.out_proj`, `${cross}.hook_z`, `${at}.hook_cross_attn_out`);
      rules[`${at}.encoder_attn_layer_norm.bias`] = bias(`${at}.hook_resid_mid_cross`);
    }
    rules[`language_model.${side}.embed_positions.weight`] = (_, gradients) => {
      const table = gradients.get(`language_model.${side}.hook_pos_embed`) as tf.Tensor2D; // [S, D], rows from 2 on
      return tf.pad(table, [
        [2, 64 - table.shape[0]],
        [0, 0],
      ]);
    };
  }
  return rules;
}

const projector = 'multi_modal_projector';
const projectorRules: Record<string, ChainRule> = {
  [`${projector}.image_projection.weight`]: weight(`${projector}.hook_pooled`, `${projector}.hook_projected`),
  [`${projector}.image_proj_norm.bias`]: bias(`${projector}.hook_image_features`),
};

function visionRules(): Record<string, ChainRule> {
  const rules: Record<string, ChainRule> = {
    'vision_tower.convs.0.norm.bias': bias('vision_tower.convs.0.hook_embed'),
  };
  for (const stage of [0, 1, 2, 3]) {
    if (stage > 0) rules[`vision_tower.convs.${stage}.conv.bias`] = bias(`vision_tower.convs.${stage}.hook_embed`);
    for (const kind of ['spatial_block', 'channel_block']) {
      const at = `vision_tower.blocks.${stage}.0.${kind}`;
      for (const conv of ['conv1', 'conv2']) rules[`${at}.${conv}.bias`] = bias(`${at}.hook_${conv}`);
      rules[`${at}.ffn.fc2.weight`] = weight(`${at}.hook_post`, `${at}.hook_mlp_out`);
      rules[`${at}.ffn.fc2.bias`] = bias(`${at}.hook_mlp_out`);
      const attention = kind === 'spatial_block' ? 'window_attn' : 'channel_attn';
      rules[`${at}.${attention}.proj.bias`] = bias(`${at}.hook_attn_out`);
    }
    const channel = `vision_tower.blocks.${stage}.0.channel_block`;
    rules[`${channel}.channel_attn.proj.weight`] = weight(`${channel}.channel_attn.hook_z`, `${channel}.hook_attn_out`);
    rules[`${channel}.channel_attn.qkv.bias`] = (activations, gradients) =>
      tf.concat(['q', 'k', 'v'].map(p => bias(`${channel}.channel_attn.hook_${p}`)(activations, gradients)));
  }
  return rules;
}

const points = noVision ? 'language_model.**' : '**'; // a batch gathers features, which wasm has no gradient of
const language = { ...languageRules(), ...(noVision ? {} : projectorRules) };
const recorded = /embed_positions|projector/; // with padding counted
const counted = Object.fromEntries(Object.entries(language).filter(([name]) => recorded.test(name)));
for (const [file, what, rules] of [
  ['full/grads', 'language model', language],
  ['full/grads', 'whole model', { ...language, ...visionRules() }],
  ['padlabels_grads', 'padding counted', counted],
] as [string, string, Record<string, ChainRule>][]) {
  const whole = what === 'whole model';
  const path = `model/tiny/train/${file}.safetensors`;
  const run = hasReference(path) && !(noVision && whole) ? test : test.skip;
  run(`times activations they are PyTorch's gradients of parameters: ${what}`, async () => {
    const subject = await openSubject('tiny');
    const expected = await readTensors(reference(path));
    const trainable = trainableParameters(subject.model, whole ? [] : ['vision_tower']);
    const check: Parameters<typeof withTrainingSetup>[2] = async ({ pass, tokens, hooks }) => {
      const activations = new ActivationCache();
      const { hook } = new Capture(points, activations);
      tf.dispose(tf.tidy(() => pass(hooks.with([hook]).root())));
      const gradients = gradientsOfPass((_, hook) => tf.div(pass(hooks.with([hook]).root()), tokens), points);
      assert.equal(gradients.names, activations.names);
      for (const [name, rule] of Object.entries(rules)) {
        const made = tf.tidy(() => rule(activations, gradients));
        const want = expected.get(`model.${name}`)!;
        const rms = Math.sqrt(want.reduce((sum, x) => sum + x * x, 0) / want.length);
        const { maxAbs } = difference((await made.data()) as Float32Array, want);
        assert.is(made.size, want.length, name);
        assert.ok(maxAbs <= GRADIENT * rms, `${name}: off by ${maxAbs / rms} of its rms, ${GRADIENT} is allowed`);
        made.dispose();
      }
      activations.dispose();
      gradients.dispose();
    };
    await withoutLeaks(() => withTrainingSetup(subject, trainable, check, what === 'padding counted'));
    subject.model.dispose();
    await subject.inputs.close();
  });
}

test.run();
