import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Lora } from '../../src/adapters/lora.ts';
import type { Dataset, TrainingExample } from '../../src/datasets/example.ts';
import { UsageError } from '../../src/errors.ts';
import type { Florence2 } from '../../src/florence2.ts';
import { noHooks } from '../../src/hooks/hooks.ts';
import type { TrainerOptions } from '../../src/training/options.ts';
import { Trainer } from '../../src/training/trainer.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import {
  apart,
  dataset,
  learnerCheckpoint,
  logic,
  newFolder,
  picture,
  train,
  trainOn,
  valuesOf,
  withLearner,
} from './learner.ts';
import { lessonOf } from './lesson.ts';

const layouts = ['microsoft', 'native'] as const;
const folders = { microsoft: await learnerCheckpoint('microsoft'), native: await learnerCheckpoint('native') };
const folder = folders.microsoft;
const languageModel = [/^(vision_tower|multi_modal_projector|language_model\.shared)\./];

/** Returns the losses of a dataset's targets, without dropout. */
async function lossesOf(florence: Florence2, set: Dataset): Promise<Float32Array> {
  const lesson = await lessonOf(florence, set);
  const losses = tf.tidy(() => lesson.pass(noHooks));
  const values = new Float32Array(await losses.data());
  losses.dispose();
  lesson.dispose();
  return values;
}

for (const layout of layouts) {
  for (const kind of ['full', 'LoRA'] as const) {
    test(`${layout}, ${kind}: loading latest returns the trained model`, () =>
      withoutLeaks(() =>
        withLearner(folders[layout], async florence => {
          const how = kind === 'LoRA' ? { lora: { r: 2, bias: 'lora_only' as const } } : { freeze: languageModel };
          const before = await lossesOf(florence, dataset(2));
          const { output } = await trainOn(florence, { train: dataset(2), epochs: 2, ...how });
          const trained = await lossesOf(florence, dataset(2));
          assert.not.equal(trained, before);
          const saved = join(output, 'latest');
          await withLearner(kind === 'LoRA' ? folders[layout] : saved, async again => {
            if (kind === 'LoRA') await again.loadAdapter(saved);
            assert.equal(await lossesOf(again, dataset(2)), trained, 'bit-identical, since fp32 is saved');
          });
        }),
      ));
  }
}

logic('best has the weights of the lowest validation loss, latest the last weights', () =>
  withLearner(folder, async florence => {
    const seen: { step: number; loss: number; values: Promise<Map<string, Float32Array>> }[] = [];
    const onValidation = ({ step, loss }: { step: number; loss: number }) => {
      seen.push({ step, loss, values: valuesOf(florence) });
    };
    const norm = florence.model.parameters.get('language_model.decoder.layers.0.final_layer_norm.weight')!;
    const onStep = ({ step }: { step: number }) => {
      if (step === 7) norm.load(new Float32Array(norm.shape[0]).fill(9)); // undoes the training
    };
    const sets = { train: dataset(2), valid: dataset(2, { seed: 3 }) };
    const how = { freeze: languageModel, learningRate: 0.02, epochs: 4, validateEvery: 2 };
    const { output, best } = await trainOn(florence, { ...sets, ...how, onStep, onValidation });
    assert.equal(
      seen.map(({ step }) => step),
      [2, 4, 6, 8],
    );
    const lowest = seen.reduce((a, b) => (b.loss < a.loss ? b : a));
    assert.equal(best, { step: lowest.step, loss: lowest.loss, by: 'loss', value: lowest.loss });
    assert.is.not(lowest.step, 8, 'the last validation must not be the best, or this test is void');
    await withLearner(join(output, 'best'), async saved => {
      const { by, name } = apart(await valuesOf(saved), await lowest.values);
      assert.is(by, 0, name);
    });
    assert.not.ok(existsSync(join(output, 'best', 'training_state.json')), 'best contains only a checkpoint');
    await withLearner(join(output, 'latest'), async saved => {
      assert.is(apart(await valuesOf(saved), await valuesOf(florence)).by, 0);
    });
  }),
);

test('an adapter is trained further, and the one it starts from stays', () =>
  withLearner(folder, async florence => {
    const { output } = await trainOn(florence, { train: dataset(1), lora: { r: 2, alpha: 3, bias: 'lora_only' } });
    await withLearner(folder, async fresh => {
      const first = await fresh.loadAdapter(join(output, 'latest'), { name: 'first' });
      const values = (lora: Lora) =>
        Promise.all(lora.parameters.map(async ({ value }) => Array.from(await value.data())));
      const start = await values(first);
      // The first step of a warm-up has a learning rate of 0 and changes no parameter.
      const still = { train: dataset(1), lora: 'first', maxSteps: 1, warmupSteps: 1 };
      await trainOn(fresh, still);
      const copy = fresh.adapters.get('training');
      assert.equal(await values(copy), start);
      assert.equal([...copy.layers.values()].map(({ r, alpha }) => [r, alpha]).at(0), [2, 3]);
      fresh.adapters.remove('training');
      await trainOn(fresh, { train: dataset(1), lora: 'first', learningRate: 0.01 });
      assert.not.equal(await values(fresh.adapters.get('training')), start);
      assert.equal(await values(first), start);
    });
  }));

test('a run leaves only its results', () =>
  withLearner(folder, async florence => {
    const { output } = await trainOn(florence, { train: dataset(1), valid: dataset(1), lora: { r: 2 } });
    const files = readdirSync(output).filter(name => !name.startsWith('events.'));
    assert.equal(files.sort(), ['best', 'curves.svg', 'latest', 'metrics.csv', 'metrics.jsonl']);
    const adapter = ['adapter_config.json', 'adapter_model.safetensors'];
    assert.equal(readdirSync(join(output, 'best')).sort(), adapter);
    const state = ['training_state.json', 'training_state.safetensors'];
    assert.equal(readdirSync(join(output, 'latest')).sort(), [...adapter, ...state]);
  }));

logic('validation uses unchanged images and all of their targets', () =>
  withLearner(folder, async florence => {
    const losses: number[] = [];
    const answers: number[] = [];
    // The first step of a warm-up has a learning rate of 0 and changes no parameter.
    const still = { train: dataset(1), valid: dataset(2, { targets: 3, seed: 5 }), maxSteps: 1, warmupSteps: 1 };
    const onValidation: TrainerOptions['onValidation'] = ({ loss, metrics }) => {
      losses.push(loss);
      answers.push(Object.values(metrics).reduce((sum, { count }) => sum + count, 0));
    };
    const changes = [{}, { augment: { brightness: 1, scale: 0.3 } }, { targetsPerImage: 1 }];
    for (const change of changes) {
      await trainOn(florence, { ...still, ...change, lora: { r: 2 }, onValidation });
      florence.adapters.remove('training');
    }
    assert.equal(losses, [losses[0], losses[0], losses[0]]);
    assert.equal(answers, [6, 6, 6]);
  }),
);

/** Returns a dataset whose example `bad` cannot be read. */
const broken = (set: Dataset, bad: number): Dataset => ({
  ...set,
  example: i => {
    if (i === bad) throw new Error('the disk is gone');
    return set.example(i);
  },
});
const failing: [when: string, options: Partial<TrainerOptions>, message: RegExp][] = [
  ['an example cannot be read', { train: broken(dataset(4), 3) }, /the disk is gone/],
  ['a validation fails', { valid: broken(dataset(2), 1) }, /the disk is gone/],
  [
    'an answer is too long',
    {
      train: {
        ...dataset(1),
        example: () => ({ image: picture(0), targets: [{ task: '<CAPTION>', answer: 'x'.repeat(99) }], source: 'a:1' }),
      },
    },
    /^a:1: The answer to <CAPTION> has 101 tokens; the model has 64 positions/,
  ],
  [
    'an image has another size than its annotations say',
    {
      train: {
        ...dataset(1),
        example: () => ({ ...(dataset(1).example(0) as TrainingExample), imageSize: { width: 12, height: 10 } }),
      },
    },
    /^set:1: The image is 10x12, but the annotations say 12x10\. Was its EXIF orientation applied/,
  ],
  [
    'a callback throws',
    {
      onStep: () => {
        throw new Error('enough');
      },
    },
    /enough/,
  ],
];
for (const [when, options, message] of failing) {
  logic(`${when}: the run throws that error and leaves no tensors and no cache`, () =>
    withoutLeaks(() =>
      withLearner(folder, async florence => {
        const output = newFolder();
        const all = { train: dataset(2), lora: { r: 2 }, featureCache: 'disk' as const, output, ...options };
        const error = await trainOn(florence, all).then(
          () => undefined,
          error => error,
        );
        assert.match(error?.message, message);
        assert.not.ok(existsSync(join(output, 'maps')));
      }),
    ),
  );
}

const refused: [what: string, options: Partial<TrainerOptions>, message: RegExp][] = [
  ['no training data', { train: dataset(0) }, /^The training data is empty/],
  ['no validation data', { valid: dataset(0, { name: 'v' }) }, /^The validation data v is empty/],
  ['a target that matches no layer', { lora: { targets: ['qproj'] } }, /q_?proj/],
  ['a weight below 0', { train: [{ dataset: dataset(1), weight: -1 }] }, /The weight of dataset 0 is -1/],
];
for (const [what, options, message] of refused) {
  test(`refused before anything is changed: ${what}`, () =>
    withoutLeaks(() =>
      withLearner(folder, async florence => {
        const output = newFolder();
        assert.throws(
          () =>
            new Trainer(florence, {
              train: dataset(1),
              freeze: options.lora ? undefined : languageModel,
              output,
              ...options,
            }),
          (error: Error) => error instanceof UsageError && message.test(error.message),
        );
        assert.equal(florence.adapters.names, []);
        assert.not.ok(existsSync(output));
      }),
    ));
}

logic('refused: a second run in a folder in which one trains, which does not disturb it', () =>
  withoutLeaks(async () => {
    const options = { train: dataset(2), lora: { r: 2 }, epochs: 3, output: newFolder() };
    let second: Promise<unknown> | undefined;
    const onStep = () => {
      second ??= train(folder, { ...options, resume: true }).catch((error: Error) => error.message);
    };
    const { florence, losses } = await train(folder, { ...options, onStep });
    assert.match((await second) as string, /^Another training in .* is running/);
    assert.is(losses.length, 6);
    florence.dispose();
  }),
);

test('refused: full fine-tuning while an adapter is active', () =>
  withLearner(folder, async florence => {
    florence.adapters.create('other', { r: 2 });
    const options = { train: dataset(1), freeze: languageModel, output: newFolder() };
    assert.throws(() => new Trainer(florence, options), /The adapter other is active: merge it/);
    florence.adapters.mergeAndUnload();
    new Trainer(florence, options);
  }));

const onWasm: [what: string, options: Partial<TrainerOptions>][] = [
  ['the whole model', { freeze: [] }],
  ['the parameters trained by default', {}],
  ['embeddings', { freeze: [/^(?!language_model\.shared)/] }],
  ['an adapter of the vision tower', { lora: { targets: ['qkv'] } }],
  ['an adapter of the image projection', { lora: { targets: ['image_projection'] } }],
  ['an adapter with embeddings', { lora: { modulesToSave: ['language_model.shared'] } }],
  ['an adapter with an untied head', { lora: { modulesToSave: ['lm_head'] } }],
];
for (const [what, options] of testBackend === 'wasm' ? onWasm : []) {
  test(`refused on wasm: ${what}`, () =>
    withoutLeaks(() =>
      withLearner(folder, async florence => {
        assert.throws(
          () => new Trainer(florence, { train: dataset(1), output: newFolder(), ...options }),
          /^The wasm backend cannot train .*: it has no gradients of convolutions and embeddings\. Train a LoRA adapter/,
        );
        assert.equal(florence.adapters.names, []);
      }),
    ));
}

const learnable: [what: string, options: Partial<TrainerOptions>][] = [
  ['an adapter of the language model', { lora: { r: 4 } }],
  ['the same with gradient checkpointing', { lora: { r: 4 }, gradientCheckpointing: true }],
  ['an adapter with the head', { lora: { r: 4, targets: ['q_proj', 'v_proj', 'lm_head'] } }],
  ['layers of the language model', { freeze: languageModel }],
];
for (const [what, options] of learnable) {
  test(`the loss falls: ${what}`, () =>
    withLearner(folder, async florence => {
      const how = { learningRate: 0.03, epochs: 12, schedule: 'constant' as const };
      const { losses } = await trainOn(florence, { train: dataset(1), ...how, ...options });
      assert.ok(losses.at(-1)! < 0.5 * losses[0], `${losses[0]} to ${losses.at(-1)}`);
    }));
}

// From training to answers. wasm can train too little of this model.
const check = testBackend === 'wasm' ? test.skip : logic;
check('an overfitted model answers its training example', () =>
  withLearner(folder, async florence => {
    const set = dataset(1, { seed: 3 });
    const how = { freeze: [], learningRate: 0.02, epochs: 60, warmupSteps: 5 };
    const { losses, output } = await trainOn(florence, { train: set, ...how });
    assert.ok(losses.at(-1)! < 0.01, `loss ${losses.at(-1)}`);
    await withLearner(join(output, 'latest'), async again => {
      const { image, targets } = await set.example(0);
      const [detection, caption] = targets;
      const [expected] = (detection.answer as { boxes: { label: string; box: number[] }[] }).boxes;
      const { boxes } = await again.run(image, '<OD>', { numBeams: 1 });
      assert.equal(
        boxes.map(({ label }) => label),
        [expected.label],
      );
      const off = Math.max(...expected.box.map((x, i) => Math.abs(x - boxes[0].box[i])));
      assert.ok(off <= 12 / 1000, `differs by more than half a bin: ${boxes[0].box}, expected ${expected.box}`);
      assert.is((await again.run(image, '<CAPTION>', { numBeams: 1 })).text, caption.answer);
    });
  }),
);

test.run();
