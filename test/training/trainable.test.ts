import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import type { TrainerOptions } from '../../src/training/options.ts';
import { trainableParameters } from '../../src/training/trainable.ts';
import { testBackend } from '../backend.ts';
import { dataset, learnerCheckpoint, logic, trainOn, valuesOf, withLearner } from './learner.ts';

const folder = await learnerCheckpoint();
const check = testBackend === 'wasm' ? test.skip : logic; // wasm has no gradients for most of these

/** Runs one step and returns the names of the parameters whose values changed. */
const moved = (options: Partial<TrainerOptions>): Promise<string[]> =>
  withLearner(folder, async florence => {
    const before = await valuesOf(florence);
    await trainOn(florence, { train: dataset(2, { targets: 3 }), batchSize: 2, decay: 'all', ...options });
    const after = await valuesOf(florence);
    return [...before.keys()].filter(name => before.get(name)!.some((x, i) => !Object.is(x, after.get(name)![i])));
  });

const all = await withLearner(folder, async florence =>
  trainableParameters(florence.model, []).map(({ name }) => name),
);
const cases: [what: string, freeze: TrainerOptions['freeze'], isFrozen: (name: string) => boolean][] = [
  ['nothing', [], () => false],
  ['by default the vision tower', undefined, name => name.startsWith('vision_tower.')],
  ['a module by its name', ['language_model.encoder'], name => name.startsWith('language_model.encoder.')],
  [
    'a parameter and what a pattern matches',
    ['language_model.shared.weight', /_norm\.(weight|bias)$/],
    name => name === 'language_model.shared.weight' || /_norm\.(weight|bias)$/.test(name),
  ],
];
for (const [what, freeze, isFrozen] of cases) {
  check(`frozen: ${what}; all others are trained`, async () => {
    assert.equal(
      await moved({ freeze }),
      all.filter(name => !isFrozen(name)),
    );
  });
}

test('sinusoids and the bias of the logits, which are buffers in PyTorch, are never trained', () => {
  assert.not.ok(all.some(name => /pos_idx_to_embed|final_logits_bias/.test(name)));
});

test('LoRA trains no parameter of the model', async () => {
  assert.equal(await moved({ lora: { r: 2 } }), []);
});

const refused: [freeze: (string | RegExp)[], message: RegExp][] = [
  [['vision_towr'], /^freeze: no parameter matches vision_towr\. The closest name is vision_tower\.$/],
  [['language_model.encoder.layer'], /The closest name is language_model\.encoder\.layers\.$/],
  [['vision'], /^freeze: no parameter matches vision\./], // a name must be complete
  [[/^visiontower\./], /^freeze: no parameter matches \/\^visiontower\\\.\/\./],
  [[/^vision_tower/, 'lm_head'], /^freeze: no parameter matches lm_head\./],
  [[/./], /^freeze: every parameter is frozen/],
];
for (const [freeze, message] of refused) {
  test(`refused: ${freeze}`, () =>
    withLearner(folder, async ({ model }) => {
      assert.throws(
        () => trainableParameters(model, freeze),
        (error: Error) => error instanceof UsageError && message.test(error.message),
      );
    }));
}

test.run();
