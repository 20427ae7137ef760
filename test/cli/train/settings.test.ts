import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type LoraOptions, loraDefaults } from '../../../src/adapters/lora.ts';
import { flagOf, SETTINGS, SETTINGS_BY_PATH } from '../../../src/cli/train/settings.ts';
import type { AugmentOptions } from '../../../src/training/augment/augment.ts';
import { SCHEDULE_NAMES } from '../../../src/training/optimizer.ts';
import { resolveOptions, type TrainerOptions } from '../../../src/training/options.ts';

/** The type check requires every option in these lists, and the test a setting for each. */
type Every<T> = Record<keyof T, true>;

// biome-ignore format: lists of names
const trainer: Every<Omit<TrainerOptions, 'train' | 'lora' | 'augment' | 'onStep' | 'onValidation' | 'onValidationProgress' | 'onWarning'>> = {
  output: true, valid: true, epochs: true, maxSteps: true, batchSize: true, accumulate: true, targetsPerImage: true,
  learningRate: true, schedule: true, warmupSteps: true, weightDecay: true, decay: true, betas: true, epsilon: true,
  maxGradNorm: true, labelSmoothing: true, locationWeight: true, dropout: true, seed: true, freeze: true,
  gradientCheckpointing: true, featureCache: true, featureCacheBytes: true, validateEvery: true, keepLast: true,
  warmupRatio: true, pictures: true,
  validateExamples: true, saveEvery: true, resume: true, force: true, skipBad: true, newTokens: true,
  bestBy: true, patience: true,
};
// biome-ignore format: lists of names
const lora: Every<Omit<LoraOptions, 'seed'>> = {
  r: true, alpha: true, dropout: true, rsLora: true, rankPattern: true, alphaPattern: true, init: true, bias: true,
  modulesToSave: true, targets: true, exclude: true,
};
// biome-ignore format: lists of names
const augment: Every<AugmentOptions> = {
  flip: true, crop: true, scale: true, brightness: true, contrast: true, saturation: true, minVisible: true,
};

test('every option of the Trainer has a setting', () => {
  const paths = [
    ...Object.keys(trainer),
    ...Object.keys(lora).map(name => `lora.${name}`),
    ...Object.keys(augment).map(name => `augment.${name}`),
  ];
  for (const path of paths) assert.ok(SETTINGS_BY_PATH.has(path), path);
});

test('no two settings share a key or a flag', () => {
  const all = Object.values(SETTINGS).flat();
  assert.is(SETTINGS_BY_PATH.size, all.length);
  const flags = all.map(flagOf).filter(flag => flag !== null);
  assert.is(new Set(flags).size, flags.length);
});

test('defaults and schedules equal those of the Trainer', () => {
  const defaults = { ...resolveOptions({ output: 'out', train: [] }), lora: loraDefaults };
  for (const [path, { default: value }] of SETTINGS_BY_PATH) {
    if (value === undefined || path === 'model' || path === 'backend') continue;
    const [group, name] = path.includes('.') ? path.split('.') : [undefined, path];
    const expected = group
      ? (defaults.lora as Record<string, unknown>)[name]
      : (defaults as Record<string, unknown>)[name];
    assert.equal(value, expected, path);
  }
  for (const name of SCHEDULE_NAMES) assert.ok(SETTINGS_BY_PATH.get('schedule')!.kind.allows(name), name);
});

test('defaults are allowed values', () => {
  for (const [path, { kind, default: value }] of SETTINGS_BY_PATH) {
    if (value !== undefined) assert.ok(kind.allows(value), `${path}: ${value}`);
  }
});

test.run();
