import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Dataset } from '../../src/datasets/example.ts';
import { Florence2Error } from '../../src/errors.ts';
import { HookRegistry } from '../../src/hooks/hooks.ts';
import { trainableParameters } from '../../src/training/trainable.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { apart, dataset, learnerCheckpoint, train, trainOn, valuesOf, withLearner } from './learner.ts';
import { learn, lessonOf } from './lesson.ts';

const folder = await learnerCheckpoint();
/** Leaves the layers of the language model, which every backend can train. */
const freeze = [/^(vision_tower|multi_modal_projector|language_model\.shared)\./];
/** Differences that only the order of additions causes in parameters after a step of Adam with a large epsilon. */
const ROUNDING = 2e-5;

/** Returns a dataset that repeats each image for each of its two targets. */
const repeated = (set: Dataset): Dataset => {
  const examples = Array.from({ length: set.length }, (_, i) => set.example(i)).flat();
  const single = examples.map(async made => {
    const example = await made;
    return example.targets.map(target => ({ ...example, targets: [target] }));
  });
  return { name: 'repeated', length: 2 * set.length, example: async i => (await Promise.all(single)).flat()[i] };
};

test('two batches of two images give the same step as one of four: the loss is the mean over all tokens', async () => {
  const options = { train: dataset(4, { targets: 3 }), maxSteps: 1, freeze, epsilon: 1e-3 };
  const whole = await train(folder, { ...options, batchSize: 4 });
  const parts = await train(folder, { ...options, batchSize: 2, accumulate: 2 });
  assert.ok(Math.abs(parts.losses[0] - whole.losses[0]) < 1e-6, `losses ${parts.losses} and ${whole.losses}`);
  const { by, name } = apart(await valuesOf(parts.florence), await valuesOf(whole.florence));
  assert.ok(by < ROUNDING, `${name} differs by ${by}`);
  const [three] = (await train(folder, { ...options, train: dataset(3, { targets: 3 }), batchSize: 4 })).losses;
  assert.not.equal(three, whole.losses[0], 'a different batch has a different loss');
});

test('an image is encoded once for all its targets; gradients equal those of repeated images', async () =>
  withLearner(folder, async florence => {
    const { model } = florence;
    const trainable = trainableParameters(model, testBackend === 'wasm' ? freeze : []);
    const encoded: number[] = [];
    const hooks = new HookRegistry();
    hooks.add('multi_modal_projector.hook_image_features', ({ shape }) => void encoded.push(shape[0]));
    const [together, apartImages] = [
      await lessonOf(florence, dataset(2)),
      await lessonOf(florence, repeated(dataset(2))),
    ];
    assert.equal(together.targets, apartImages.targets);
    const one = await learn(together, trainable, hooks, false);
    const many = await learn(apartImages, trainable, hooks, false);
    assert.equal(encoded, [2, 4]);
    assert.ok(
      one.losses.every((loss, i) => Math.abs(loss - many.losses[i]) < 1e-4),
      'the losses',
    );
    const { by, name } = apart(one.gradients, many.gradients);
    assert.ok(by < 1e-6, `the gradient of ${name} differs by ${by}`);
    together.dispose();
    apartImages.dispose();
  }));

test('padding does not change losses and gradients', async () =>
  withLearner(folder, async florence => {
    const trainable = trainableParameters(florence.model, freeze);
    const [short, long] = [await lessonOf(florence, dataset(2)), await lessonOf(florence, dataset(2), { pad: 7 })];
    const a = await learn(short, trainable, new HookRegistry(), false);
    const b = await learn(long, trainable, new HookRegistry(), false);
    assert.ok(
      a.losses.every((loss, i) => Math.abs(loss - b.losses[i]) < 1e-5),
      `${a.losses} and ${b.losses}`,
    );
    const { by, name } = apart(a.gradients, b.gradients);
    assert.ok(by < 1e-6, `the gradient of ${name} differs by ${by}`);
    short.dispose();
    long.dispose();
  }));

test('an answer padded to a longer one has the same loss as alone', async () =>
  withLearner(folder, async florence => {
    const trainable = trainableParameters(florence.model, freeze);
    const losses = async (set: Dataset) => {
      const lesson = await lessonOf(florence, set);
      const { losses } = await learn(lesson, trainable, new HookRegistry(), false);
      lesson.dispose();
      return losses;
    };
    const both = await losses(dataset(1, { targets: 3 }));
    const { targets, ...example } = await dataset(1, { targets: 3 }).example(0);
    for (const [i, target] of targets.entries()) {
      const [alone] = await losses({ name: '', length: 1, example: () => ({ ...example, targets: [target] }) });
      assert.ok(Math.abs(alone - both[i]) < 1e-4, `target ${i}: ${alone} alone, ${both[i]} in a batch`);
    }
  }));

test('a step has at most targetsPerImage targets, sampled anew in each epoch', async () => {
  const tasks = new Set<string>();
  const counts: number[] = [];
  const onStep = ({ taskLosses }: { taskLosses: object }) => {
    counts.push(Object.keys(taskLosses).length);
    for (const task of Object.keys(taskLosses)) tasks.add(task);
  };
  await train(folder, { train: dataset(1, { targets: 3 }), epochs: 8, targetsPerImage: 1, freeze, onStep });
  assert.equal([...new Set(counts)], [1]);
  assert.is(tasks.size, 3);
});

test('locationWeight weights both the losses and their mean', async () => {
  const options = { train: dataset(1, { targets: 1 }), maxSteps: 1, freeze };
  const [plain] = (await train(folder, options)).losses;
  const [weighted] = (await train(folder, { ...options, locationWeight: 0.25 })).losses;
  const [none] = (await train(folder, { ...options, locationWeight: 0 })).losses;
  const { tokenized } = await withLearner(folder, async florence => {
    const lesson = await lessonOf(florence, dataset(1, { targets: 1 }));
    lesson.dispose();
    return { tokenized: lesson.targets[0].answerIds.map(id => florence.tokenizer.idToToken(id)!) };
  });
  const locations = tokenized.filter(token => token.startsWith('<loc_')).length;
  assert.is(locations, 4);
  const others = tokenized.length - locations;
  const ofLocations = plain * tokenized.length - none * others; // sums of losses
  const expected = (none * others + 0.25 * ofLocations) / (others + 0.25 * locations);
  assert.ok(Math.abs(weighted - expected) < 1e-5, `${weighted}, expected ${expected}`);
});

test('a NaN loss stops the run with the step and its examples; parameters are unchanged', () =>
  withoutLeaks(() =>
    withLearner(folder, async florence => {
      const poisoned = florence.model.parameters.get('language_model.encoder.layers.0.fc1.weight')!;
      let before: Promise<Map<string, Float32Array>> | undefined;
      const onStep = ({ step }: { step: number }) => {
        if (step !== 2) return;
        poisoned.load(new Float32Array(poisoned.shape[0] * poisoned.shape[1]).fill(Number.NaN));
        before = valuesOf(florence);
      };
      const error = await trainOn(florence, { train: dataset(4), batchSize: 2, epochs: 2, freeze, onStep }).then(
        () => undefined,
        error => error,
      );
      assert.instance(error, Florence2Error);
      assert.match(error.message, /^Step 3: the loss is NaN for <CAPTION>, <OD> and the gradient norm is NaN\./);
      assert.match(error.message, /Examples of this step: set:\d; set:\d\. /);
      const { by, name } = apart(await valuesOf(florence), await before!);
      assert.is(by, 0, `${name} has changed`);
    }),
  ));

test('refused: an image without targets', async () => {
  const empty = dataset(2, { targets: 0, name: 'empty.jsonl' });
  const error = await train(folder, { train: empty, freeze }).then(
    () => undefined,
    error => error,
  );
  assert.match(error?.message, /^empty\.jsonl:\d: the image has no targets\.$/);
});

test.run();
