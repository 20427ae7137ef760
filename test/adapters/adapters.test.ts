import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference } from '../../src/activations/activation.ts';
import { Adapters } from '../../src/adapters/adapters.ts';
import type { Lora, LoraOptions } from '../../src/adapters/lora.ts';
import { UsageError } from '../../src/errors.ts';
import { withoutLeaks } from '../backend.ts';
import { openSubject } from '../internals/subject.ts';
import { numbers } from '../nn/naive.ts';
import { logitsOf } from '../training/tensors.ts';

const subject = await openSubject();
subject.model.executor = subject.model; // always sums in the same order, so equal means bit-identical
const { model, inputs } = subject;
const { lmHead, languageModel } = model;
const logits = () => logitsOf(subject);
const base = await logits();

/** Tolerance of logits that are computed in different ways; the reference uses it for merged adapters. */
const TOLERANCE = 1e-4;
const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number => difference(a, b).maxAbs;
const close = (got: ArrayLike<number>, want: ArrayLike<number>, what: string) => {
  assert.ok(apart(got, want) <= TOLERANCE, `${what}: differs by ${apart(got, want)}`);
};
const differs = (got: ArrayLike<number>, want: ArrayLike<number>, what: string) => {
  assert.ok(apart(got, want) > 100 * TOLERANCE, `${what}: differs by ${apart(got, want)} only`);
};

/** Fills B and the replaced parameters with numbers, as if the adapter had been trained. */
function train(lora: Lora, seed: number): void {
  for (const parameter of lora.parameters) {
    if (parameter.name.endsWith('lora_A.weight')) continue;
    const count = parameter.shape.reduce((n, d) => n * d, 1);
    parameter.load(numbers(count, seed++, 0.05));
  }
}

/** Runs `body` and disposes its adapters. */
const withAdapters = (body: (adapters: Adapters) => Promise<void>) =>
  withoutLeaks(async () => {
    const adapters = new Adapters(model);
    await body(adapters).finally(() => adapters.dispose());
  });

/** Targets layers of every kind: Linear of the vision tower and the language model, Conv2d, the tied head. */
const everywhere: LoraOptions = { targets: ['qkv', 'q_proj', 'fc2', 'conv', 'lm_head'], r: 2 };

test('a new adapter has no effect; a trained one has, until it is deactivated', () =>
  withAdapters(async adapters => {
    const lora = adapters.create('a', everywhere);
    assert.equal(await logits(), base, 'B is 0');
    train(lora, 1);
    const on = await logits();
    differs(on, base, 'trained');
    adapters.activate();
    assert.equal(await logits(), base, 'deactivated');
    adapters.activate('a');
    assert.equal(await logits(), on, 'activated again');
    adapters.remove('a');
    assert.equal(await logits(), base, 'removed');
    assert.equal(adapters.names, []);
  }));

test('a merged adapter has the same effect, and unmerging restores the weights exactly', () =>
  withAdapters(async adapters => {
    train(adapters.create('a', everywhere), 1);
    const on = await logits();
    const weight = languageModel.encoder.layers[0].fc2.weight.value;
    adapters.merge();
    assert.ok(adapters.isMerged);
    assert.ok([...model.adaptable.values()].every(layer => layer.adapters === null));
    close(await logits(), on, 'merged');
    assert.is(lmHead.weight.loaded, true, 'the head is no longer tied');
    adapters.unmerge();
    assert.is(lmHead.weight.loaded, false, 'the head is tied again');
    assert.is(languageModel.encoder.layers[0].fc2.weight.value, weight);
    assert.equal(await logits(), on, 'unmerged');
  }));

test('several adapters: the last one added is active, then those that are activated, each at its scale', () =>
  withAdapters(async adapters => {
    // Only the head is adapted, so the changes of the logits add up.
    train(adapters.create('a', { targets: ['lm_head'] }), 1);
    const a = await logits();
    train(adapters.create('b', { targets: ['lm_head'], r: 3 }), 2);
    const b = await logits();
    assert.equal(adapters.active, ['b']);
    differs(b, a, 'a different adapter');
    const sum = (scaleA: number, scaleB: number) => base.map((x, i) => x + scaleA * (a[i] - x) + scaleB * (b[i] - x));
    adapters.activate('a', 'b');
    close(await logits(), sum(1, 1), 'both');
    adapters.setScale('a', 0.25);
    adapters.setScale('b', -1);
    close(await logits(), sum(0.25, -1), 'scaled');
    adapters.merge();
    close(await logits(), sum(0.25, -1), 'scaled and merged');
    adapters.unmerge();
    adapters.remove('b');
    assert.equal(adapters.active, ['a']);
    close(await logits(), sum(0.25, 0), 'the remaining adapter');
  }));

test('replaced parameters are used, merged or not', () =>
  withAdapters(async adapters => {
    const norm = 'language_model.decoder.layernorm_embedding';
    train(adapters.create('a', { targets: ['q_proj'], bias: 'lora_only', modulesToSave: [norm, 'lm_head'] }), 1);
    const on = await logits();
    differs(on, base, 'trained');
    const own = adapters.get('a').own.get(`${norm}.weight`)!;
    assert.is(languageModel.decoder.layernormEmbedding.weight.value, own.value, 'gradients are taken of this tensor');
    adapters.merge();
    close(await logits(), on, 'merged');
    adapters.unmerge();
    adapters.activate();
    assert.equal(await logits(), base, 'deactivated');
  }));

test('merged permanently: the adapters are removed, the weights keep their effect', async () => {
  const other = await openSubject();
  for (const before of ['merge', 'nothing']) {
    await withoutLeaks(async () => {
      const adapters = new Adapters(other.model);
      // The head is not adapted: merging would untie it, which adds a tensor.
      train(adapters.create('a', { targets: ['fc2', 'conv'], bias: 'lora_only' }), 1);
      const on = await logitsOf(other);
      if (before === 'merge') adapters.merge();
      adapters.mergeAndUnload();
      close(await logitsOf(other), on, `after ${before}`);
      assert.equal(adapters.names, []);
      assert.not.ok(adapters.isMerged);
      assert.ok([...other.model.parameters.values()].every(({ override }) => override === null));
    });
  }
  other.model.dispose();
  await other.inputs.close();
});

test('dispose also disposes the merged weights', () =>
  withoutLeaks(async () => {
    const adapters = new Adapters(model);
    train(adapters.create('a', everywhere), 1);
    adapters.merge();
    adapters.dispose();
    adapters.dispose(); // a second call has no effect
    assert.equal(await logits(), base);
  }));

const refused: [what: string, call: (adapters: Adapters) => unknown, message: RegExp][] = [
  ['a name that is taken', a => a.create('a'), /An adapter named a already exists/],
  ['an empty name', a => a.create(''), /The name of an adapter must be a text, not ""/],
  ['an unknown name', a => a.activate('other'), /There is no adapter named other\. The adapters are a and b\./],
  ['a scale that is not a number', a => a.setScale('a', Number.NaN), /scale of an adapter must be a finite number/],
  ['two adapters that replace the same parameter', a => a.activate('a', 'b'), /a and b cannot be active together: both replace lm_head\.weight/], // biome-ignore format: one line
  ['unmerging without a merge', a => a.unmerge(), /are not merged/],
  ['activating while merged', a => [a.merge(), a.activate('a')], /call unmerge first/],
  ['scaling while merged', a => [a.merge(), a.setScale('a', 2)], /call unmerge first/],
  ['removing while merged', a => [a.merge(), a.remove('a')], /call unmerge first/],
  ['merging twice', a => [a.merge(), a.merge()], /call unmerge first/],
  ['adding while merged', a => [a.merge(), a.create('c')], /call unmerge first/],
];
for (const [what, call, message] of refused) {
  test(`refused: ${what}`, () =>
    withAdapters(async adapters => {
      adapters.create('a', { targets: ['fc1'], modulesToSave: ['lm_head'] });
      adapters.create('b', { targets: ['fc2'], modulesToSave: ['lm_head'] });
      assert.throws(
        () => call(adapters),
        (error: Error) => error instanceof UsageError && message.test(error.message),
      );
      assert.equal(adapters.active, ['b'], 'the active adapters are unchanged');
    }));
}

test("the calibration is that of the active adapter, without one the model's, and merging hands it on", () =>
  withoutLeaks(async () => {
    const [own, of] = [{ '<OD>': { raw: [0], calibrated: [0] } }, { '<OD>': { raw: [1], calibrated: [1] } }];
    const adapters = new Adapters(model, own);
    assert.is(adapters.calibration, own);
    adapters.create('a', { targets: ['fc1'] });
    assert.is(adapters.calibration, null, 'an adapter changes the confidences');
    adapters.calibration = of;
    adapters.create('b', { targets: ['fc2'] });
    adapters.activate('a');
    assert.is(adapters.calibration, of);
    adapters.activate('a', 'b');
    assert.is(adapters.calibration, null, 'two adapters');
    const set = () => {
      adapters.calibration = of;
    };
    assert.throws(set, /Only one active adapter can have a calibration/);
    adapters.activate();
    assert.is(adapters.calibration, own);
    adapters.activate('a');
    adapters.merge();
    assert.is(adapters.calibration, of, 'merged');
    adapters.unmerge();
    adapters.dispose();
  }));

test.after(async () => {
  model.dispose();
  await inputs.close();
});
test.run();
