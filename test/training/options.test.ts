import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { resolveOptions, type TrainerOptions } from '../../src/training/options.ts';

const train = { name: 'none', length: 0, example: () => ({ image: '', targets: [], source: '' }) };
const given = { output: 'x', train };

test('defaults', () => {
  const { learningRate, schedule, decay, freeze, maxGradNorm } = resolveOptions(given);
  assert.equal(
    { learningRate, schedule, decay, maxGradNorm },
    { learningRate: 1e-5, schedule: 'linear', decay: 'matrices', maxGradNorm: 1 },
  );
  assert.equal(freeze, [/^vision_tower\./]);
  assert.is(resolveOptions({ ...given, lora: {} }).learningRate, 1e-4, 'LoRA has a higher rate');
  assert.is(resolveOptions({ ...given, epochs: undefined }).epochs, 1, 'undefined means the default');
});

const wrong: [options: object, message: RegExp][] = [
  [{ epochs: 0 }, /^epochs must be a whole number of at least 1, not 0\.$/],
  [{ maxSteps: 1.5 }, /^maxSteps must be a whole number/],
  [{ batchSize: -1 }, /^batchSize must be a whole number/],
  [{ accumulate: 0 }, /^accumulate must be a whole number/],
  [{ targetsPerImage: 0 }, /^targetsPerImage must be a whole number/],
  [{ validateEvery: 0 }, /^validateEvery must be a whole number/],
  [{ saveEvery: Number.NaN }, /^saveEvery must be a whole number/],
  [{ learningRate: 0 }, /^learningRate must be a number above 0, not 0\.$/],
  [{ learningRate: Number.NaN }, /^learningRate must be a number above 0/],
  [{ maxGradNorm: 0 }, /^maxGradNorm must be a number above 0/],
  [{ weightDecay: -0.1 }, /^weightDecay must be a number of at least 0/],
  [{ warmupSteps: -1 }, /^warmupSteps must be a number of at least 0/],
  [{ labelSmoothing: 1 }, /^labelSmoothing must be at least 0 and below 1, not 1\.$/],
  [{ betas: [0.9, 1] }, /^betas must be two numbers of at least 0 and below 1, not \[0\.9,1\]\.$/],
  [{ betas: [0.9] }, /^betas must be two numbers/],
  [{ decay: 'none' }, /^decay must be all, matrices or a regular expression, not "none"\.$/],
  [{ schedule: 'step' }, /^schedule must be constant, linear or cosine, not "step"\.$/],
  [{ featureCache: 'ram' }, /^featureCache must be memory, disk or off/],
  [{ dropout: 0.1 }, /^dropout must be true or false, not 0\.1\.$/],
  [{ onStep: 'log' }, /^onStep must be a function/],
  [{ learning_rate: 1e-4 }, /^Trainer has no option learning_rate\. Did you mean learningRate\?$/],
  [{ lr: 1e-4 }, /^Trainer has no option lr\. /],
  [{ seed: 0.5 }, /^seed must be a whole number/],
  [{ lora: {}, freeze: ['lm_head'] }, /^freeze cannot be combined with lora/],
];
for (const [options, message] of wrong) {
  test(`refused: ${JSON.stringify(options)}`, () => {
    assert.throws(
      () => resolveOptions({ ...given, ...options } as TrainerOptions),
      (error: Error) => error instanceof UsageError && message.test(error.message),
    );
  });
}

test.run();
