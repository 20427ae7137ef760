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
subject.model.executor = subject.model; // sums in one order, whatever is active: equal means to the bit
const { model, inputs } = subject;
const { lmHead, languageModel } = model;
const logits = () => logitsOf(subject);
const base = await logits();

/** Of the logits, between one way to compute them and another: as the reference has it for merged adapters. */
const TOLERANCE = 1e-4;
const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number => difference(a, b).maxAbs;
const close = (got: ArrayLike<number>, want: ArrayLike<number>, what: string) => {
  assert.ok(apart(got, want) <= TOLERANCE, `${what}: differs by ${apart(got, want)}`);
};
const differs = (got: ArrayLike<number>, want: ArrayLike<number>, what: string) => {
  assert.ok(apart(got, want) > 100 * TOLERANCE, `${what}: differs by ${apart(got, want)} only`);
};

/** Gives an adapter something to say: B, and values of its own, as if it had been trained. */
function train(lora: Lora, seed: number): void {
  for (const parameter of lora.parameters) {
    if (parameter.name.endsWith('lora_A.weight')) continue;
    const count = parameter.shape.reduce((n, d) => n * d, 1);
    parameter.load(numbers(count, seed++, 0.05));
  }
}

/** Runs `body` with adapters that are freed afterwards. */
const withAdapters = (body: (adapters: Adapters) => Promise<void>) =>
  withoutLeaks(async () => {
    const adapters = new Adapters(model);
    await body(adapters).finally(() => adapters.dispose());
  });

/** Layers of every kind: Linear of vision and language, Conv2d, the tied head. */
const everywhere: LoraOptions = { targets: ['qkv', 'q_proj', 'fc2', 'conv', 'lm_head'], r: 2 };

test('a new adapter changes nothing; a trained one does, until it is switched off', () =>
  withAdapters(async adapters => {
    const lora = adapters.create('a', everywhere);
    assert.equal(await logits(), base, 'B is 0');
    train(lora, 1);
    const on = await logits();
    differs(on, base, 'trained');
    adapters.activate();
    assert.equal(await logits(), base, 'switched off');
    adapters.activate('a');
    assert.equal(await logits(), on, 'switched on');
    adapters.remove('a');
    assert.equal(await logits(), base, 'removed');
    assert.equal(adapters.names, []);
  }));

test('merged it does the same, and unmerging restores the weights to the bit', () =>
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

test('several adapters: the last one loaded is active, then those that are named, each at its scale', () =>
  withAdapters(async adapters => {
    // On the head alone, so that logits are the sum of what the adapters add.
    train(adapters.create('a', { targets: ['lm_head'] }), 1);
    const a = await logits();
    train(adapters.create('b', { targets: ['lm_head'], r: 3 }), 2);
    const b = await logits();
    assert.equal(adapters.active, ['b']);
    differs(b, a, 'another adapter');
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
    close(await logits(), sum(0.25, 0), 'the one that is left');
  }));

test('values of its own stand in for those of the model, merged or not', () =>
  withAdapters(async adapters => {
    const norm = 'language_model.decoder.layernorm_embedding';
    train(adapters.create('a', { targets: ['q_proj'], bias: 'lora_only', modulesToSave: [norm, 'lm_head'] }), 1);
    const on = await logits();
    differs(on, base, 'trained');
    const own = adapters.get('a').own.get(`${norm}.weight`)!;
    assert.is(languageModel.decoder.layernormEmbedding.weight.value, own.value, 'the tensor that gradients are of');
    adapters.merge();
    close(await logits(), on, 'merged');
    adapters.unmerge();
    adapters.activate();
    assert.equal(await logits(), base, 'switched off');
  }));

test('merged for good: the adapters are gone, the weights stay', async () => {
  const other = await openSubject();
  for (const before of ['merge', 'nothing']) {
    await withoutLeaks(async () => {
      const adapters = new Adapters(other.model);
      // A head of its own is one tensor more, so it is left out here.
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

test('freed together with what is merged', () =>
  withoutLeaks(async () => {
    const adapters = new Adapters(model);
    train(adapters.create('a', everywhere), 1);
    adapters.merge();
    adapters.dispose();
    adapters.dispose(); // twice is no harm
    assert.equal(await logits(), base);
  }));

const refused: [what: string, call: (adapters: Adapters) => unknown, message: RegExp][] = [
  ['a name that is taken', a => a.create('a'), /There is an adapter named a already/],
  ['no name', a => a.create(''), /An adapter needs a name/],
  ['an unknown name', a => a.activate('x'), /There is no adapter named x; those loaded: a, b\./],
  ['a scale that is no number', a => a.setScale('a', Number.NaN), /scale of an adapter must be a number/],
  ['two with their own values for one parameter', a => a.activate('a', 'b'), /a and b cannot be active together: both have their own lm_head\.weight/], // biome-ignore format: one line
  ['unmerging what is not merged', a => a.unmerge(), /are not merged/],
  ['switching while merged', a => [a.merge(), a.activate('a')], /unmerge them first/],
  ['scaling while merged', a => [a.merge(), a.setScale('a', 2)], /unmerge them first/],
  ['removing while merged', a => [a.merge(), a.remove('a')], /unmerge them first/],
  ['merging twice', a => [a.merge(), a.merge()], /unmerge them first/],
  ['adding while merged', a => [a.merge(), a.create('c')], /unmerge them first/],
];
for (const [what, call, message] of refused) {
  test(`refused: ${what}`, () =>
    withAdapters(async adapters => {
      adapters.create('a', { targets: ['fc1'], modulesToSave: ['lm_head'] });
      adapters.create('b', { targets: ['fc2'], modulesToSave: ['lm_head'] });
      try {
        call(adapters);
      } catch (error) {
        assert.instance(error, UsageError);
        assert.match((error as Error).message, message);
        assert.equal(adapters.active, ['b'], 'nothing has changed');
        return;
      }
      assert.unreachable('nothing was refused');
    }));
}

test.after(async () => {
  model.dispose();
  await inputs.close();
});
test.run();
