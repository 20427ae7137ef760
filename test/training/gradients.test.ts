import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createLora, type LoraOptions } from '../../src/adapters/lora.ts';
import { HookRegistry } from '../../src/hooks/hooks.ts';
import { dropout, dropoutHooks } from '../../src/training/dropout.ts';
import { lossAndGradients } from '../../src/training/gradients.ts';
import { trainableParameters } from '../../src/training/trainable.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { apart, dataset, learnerCheckpoint, withLearner } from './learner.ts';
import { learn, lessonOf } from './lesson.ts';

const folder = await learnerCheckpoint();
const languageModel = /^(vision_tower|multi_modal_projector|language_model\.shared)\./;

/** Trained parameters. wasm has gradients only for the last two cases. */
const cases: { what: string; freeze?: RegExp[]; lora?: LoraOptions }[] = [
  { what: 'all of the model', freeze: [] },
  { what: 'all but the vision tower', freeze: [/^vision_tower\./] },
  { what: 'a decoder layer', freeze: [/^(?!language_model\.decoder\.layers)/] },
  { what: 'an adapter everywhere', lora: { r: 2, targets: '.*', dropout: 0.2 } },
  { what: 'an adapter of the language model', lora: { r: 2, dropout: 0.2 } },
  { what: 'layers of the language model', freeze: [languageModel] },
].slice(testBackend === 'wasm' ? 4 : 0);

for (const { what, freeze, lora: options } of cases) {
  for (const dropping of [false, true]) {
    test(`${what}, ${dropping ? 'with' : 'without'} dropout: gradient checkpointing gives the same losses and gradients`, () =>
      withLearner(folder, async florence => {
        const { model, adapters } = florence;
        const at = { seed: 3, step: 7, batch: 0 };
        const hooks = dropping ? dropoutHooks(model.config, at) : new HookRegistry();
        const lora = options ? createLora(model, options) : null;
        if (lora) {
          adapters.add('a', lora);
          for (const { b } of lora.layers.values()) b.load(new Float32Array(b.shape[0] * b.shape[1]).fill(0.1));
          lora.inputDropout = dropping ? (x, name) => dropout(x, 0.2, at, name) : null;
        }
        const trainable = lora?.parameters ?? trainableParameters(model, freeze!);
        const lesson = await lessonOf(florence, dataset(2, { targets: 3 }));
        const [atOnce, inBlocks] = await withoutLeaks(async () => [
          await learn(lesson, trainable, hooks, false),
          await learn(lesson, trainable, hooks, true),
        ]);
        lesson.dispose();
        assert.equal(inBlocks.losses, atOnce.losses, 'the losses');
        assert.equal(
          [...inBlocks.gradients.keys()].sort(),
          trainable.map(({ name }) => name).sort(),
          'every parameter has a gradient',
        );
        const { by, name } = apart(inBlocks.gradients, atOnce.gradients);
        assert.ok(by < 1e-6, `the gradient of ${name} differs by ${by}`);
      }));
  }
}

test('dropout changes the losses, which depend only on seed, step and batch', () =>
  withLearner(folder, async florence => {
    const trainable = trainableParameters(florence.model, [languageModel]);
    const lesson = await lessonOf(florence, dataset(1));
    const losses = async (hooks: HookRegistry) => [...(await learn(lesson, trainable, hooks, false)).losses];
    const at = { seed: 0, step: 0, batch: 0 };
    const hooksAt = (change: object) => dropoutHooks(florence.config, { ...at, ...change });
    const plain = await losses(new HookRegistry());
    const dropped = await losses(hooksAt({}));
    assert.not.equal(dropped, plain);
    assert.equal(await losses(hooksAt({})), dropped, 'again');
    for (const change of [{ seed: 1 }, { step: 1 }, { batch: 1 }]) {
      assert.not.equal(await losses(hooksAt(change)), dropped, JSON.stringify(change));
    }
    lesson.dispose();
  }));

for (const checkpoint of [false, true]) {
  test(`a pass that throws leaves no tensors, ${checkpoint ? 'with' : 'without'} gradient checkpointing`, () =>
    withLearner(folder, async florence => {
      const trainable = trainableParameters(florence.model, [languageModel]);
      const lesson = await lessonOf(florence, dataset(1));
      for (const point of ['language_model.decoder.layers.0.hook_post', 'hook_logits']) {
        for (const call of checkpoint ? [1, 2] : [1]) {
          const hooks = new HookRegistry();
          let calls = 0;
          hooks.add(point, () => {
            if (++calls === call) throw new Error(`thrown at call ${call}`);
          });
          const run = () => lossAndGradients(lesson.pass, trainable, 1, hooks, checkpoint);
          await withoutLeaks(() => assert.throws(run, new RegExp(`thrown at call ${call}`), point));
        }
      }
      lesson.dispose();
    }));
}

test.run();
