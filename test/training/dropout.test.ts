import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HookRegistry, noHooks } from '../../src/hooks/hooks.ts';
import { attend } from '../../src/nn/attention.ts';
import { vectorJacobian } from '../../src/nn/tape.ts';
import { dropout, dropoutHooks } from '../../src/training/dropout.ts';
import { withoutLeaks } from '../backend.ts';
import { dataset, learnerCheckpoint, logic, trainOn, withLearner } from './learner.ts';
import { lessonOf } from './lesson.ts';

const at = { seed: 1, step: 2, batch: 0 };

test('elements are dropped at the rate, and the others are scaled up', () =>
  withoutLeaks(async () => {
    const ones = tf.ones([100, 100]);
    const dropped = dropout(ones, 0.3, at, 'name');
    const values = [...(await dropped.data())];
    const zeros = values.filter(x => x === 0).length;
    assert.ok(Math.abs(zeros / 10_000 - 0.3) < 0.02, `${zeros} of 10000`); // 4 standard deviations
    const others = new Set(values.filter(x => x !== 0));
    assert.equal([...others], [Math.fround(1 / 0.7)]);
    tf.dispose([ones, dropped]);
  }));

test('masks depend on name, step, batch, seed and shape, and are otherwise equal', async () => {
  const masks = async (where: typeof at, name: string) => [...(await dropout(tf.ones([64]), 0.5, where, name).data())];
  const first = await masks(at, 'a');
  assert.equal(await masks({ ...at }, 'a'), first);
  assert.not.equal(await masks(at, 'b'), first);
  const longer = [...(await dropout(tf.ones([65]), 0.5, at, 'a').data())];
  assert.not.equal(longer.slice(0, 64), first, 'rows of a different length');
  for (const change of [{ seed: 0 }, { step: 1 }, { batch: 1 }]) {
    assert.not.equal(await masks({ ...at, ...change }, 'a'), first, JSON.stringify(change));
  }
});

test('the gradient passes what was kept, scaled up; one byte of each element is kept for it', () =>
  withoutLeaks(async () => {
    const ones = tf.ones([100, 100]);
    const before = tf.memory().numBytes;
    let kept = 0;
    const gradient = tf.grad(x => {
      const y = tf.tidy(() => dropout(tf.square(x), 0.3, at, 'name'));
      kept = tf.memory().numBytes - before;
      return y;
    })(ones);
    const dropped = dropout(ones, 0.3, at, 'name');
    assert.equal(
      [...(await gradient.data())],
      [...(await dropped.data())].map(value => 2 * value),
    );
    // Two times the 40 kB of y, the mask, and what the gradient of tf.square keeps, a tensor that shares its data.
    assert.ok(kept <= 2 * 40_000 + 10_000, `${kept} bytes`);
    tf.dispose([ones, gradient, dropped]);
  }));

test('gradients of attention under dropout are those of its parts, and no pattern is kept for them', () =>
  withoutLeaks(async () => {
    const [q, k, v, dy] = [1, 2, 3, 4].map(
      seed => tf.randomNormal([1, 2, 48, 8], 0, 1, 'float32', seed) as tf.Tensor4D,
    );
    const mask = tf.tensor4d(
      Array.from({ length: 48 }, (_, i) => (i < 40 ? 0 : -1e9)),
      [1, 1, 1, 48],
    );
    const before = tf.memory().numBytes;
    const results = [false, true].map(repeatable => {
      const hooks = new HookRegistry();
      hooks.add('hook_pattern', (pattern, { name }) => dropout(pattern, 0.3, at, name), { repeatable });
      let kept = 0;
      const pass = () => {
        const z = attend(q, k, v, mask, hooks.root());
        kept = tf.memory().numBytes - before;
        return z;
      };
      return { gradients: vectorJacobian(pass, [q, k, v], dy) as tf.Tensor[], kept };
    });
    const [parts, again] = results;
    for (const [i, gradient] of again.gradients.entries()) {
      const [found, expected] = await Promise.all([gradient.data(), parts.gradients[i].data()]);
      const difference = Math.max(...found.map((x, j) => Math.abs(x - expected[j])));
      assert.ok(difference < 1e-5, `gradient ${i} differs by ${difference}`);
    }
    assert.ok(parts.kept - again.kept > 2 * 48 * 48 * 4, `${again.kept} bytes, ${parts.kept} for all parts`);
    tf.dispose([q, k, v, dy, mask, ...results.flatMap(({ gradients }) => gradients)]);
  }));

const folder = await learnerCheckpoint();

/**
 * Dropout rate of each point, as in BartModel and DaViT of the reference: one layer of each kind, eight half blocks.
 */
const language = (stack: string, points: string[]) => points.map(point => `language_model.${stack}.layers.0.${point}`);
const expected = new Map<string, number>(
  [
    ...language('encoder', ['hook_resid_pre', 'self_attn.hook_pattern', 'hook_attn_out', 'hook_post', 'hook_mlp_out']),
    ...language('decoder', ['hook_resid_pre', 'self_attn.hook_pattern', 'hook_attn_out', 'encoder_attn.hook_pattern']),
    ...language('decoder', ['hook_cross_attn_out', 'hook_post', 'hook_mlp_out']),
  ].map((name): [string, number] => [name, 0.1]),
);
for (let i = 1; i < 8; i++) {
  const block = `vision_tower.blocks.${Math.floor(i / 2)}.0.${i % 2 ? 'channel_block' : 'spatial_block'}`;
  expected.set(`${block}.hook_attn_out`, (0.7 * i) / 7);
  expected.set(`${block}.hook_mlp_out`, (0.7 * i) / 7);
}

logic('dropout is at the points of BART; the vision tower skips sublayers, at rates that grow with depth', () =>
  withLearner(folder, async florence => {
    const { text, vision } = florence.config;
    const hooks = dropoutHooks({ ...florence.config, text, vision: { ...vision, dropPathRate: 0.7 } }, at);
    const points = new Set<string>();
    const recorder = new HookRegistry();
    recorder.add(/./, (_, { name }) => void points.add(name));
    const lesson = await lessonOf(florence, dataset(1));
    tf.tidy(() => lesson.pass(recorder.root())).dispose();
    lesson.dispose();
    const ones = tf.ones([2000, 2]);
    for (const point of points) {
      const dropped = hooks.root().at(point, ones);
      const values = [...(await dropped.data())];
      const share = values.filter(x => x === 0).length / values.length;
      const rate = expected.get(point) ?? 0;
      assert.ok(Math.abs(share - rate) < 0.05, `${point}: ${share}, expected ${rate}`);
      const together = values.every((x, i) => x === values[i - (i % 2)]);
      if (rate > 0) assert.is(together, point.startsWith('vision_tower'), `${point}: whole images are dropped`);
    }
    for (const point of expected.keys()) assert.ok(points.has(point), `${point} is not a point of the model`);
  }),
);

test('rates of 0 add no hook', () =>
  withLearner(folder, async ({ config }) => {
    const text = { ...config.text, dropout: 0, attentionDropout: 0, activationDropout: 0 };
    const hooks = dropoutHooks({ ...config, text, vision: { ...config.vision, dropPathRate: 0 } }, at);
    assert.is(hooks.root(), noHooks);
  }));

logic('dropout is used in training, but not in validation', () =>
  withLearner(folder, async florence => {
    const set = dataset(4);
    let validated = Number.NaN;
    const onValidation = ({ loss }: { loss: number }) => {
      validated = loss;
    };
    const lora = { r: 4, dropout: 0.5 };
    const options = { train: set, valid: set, batchSize: 4, lora, learningRate: 0.05, onValidation };
    const run = await trainOn(florence, { ...options, epochs: 2, dropout: true });
    const lesson = await lessonOf(florence, set);
    const losses = tf.tidy(() => lesson.pass(noHooks));
    const plain = [...(await losses.data())].reduce((sum, loss) => sum + loss, 0) / lesson.tokens;
    assert.ok(Math.abs(validated - plain) < 1e-5, `validation ${validated}, the model without dropout ${plain}`);
    assert.ok(Math.abs(run.losses[0] - plain) > 0.01);
    lesson.dispose();
    losses.dispose();
  }),
);

test.run();
