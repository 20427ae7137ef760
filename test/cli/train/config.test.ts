import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mergeConfig, readConfig, type TrainConfig } from '../../../src/cli/train/config.ts';
import { Florence2Error } from '../../../src/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'florence2-config-'));
const file = join(folder, 'run.json');

function read(content: object | string): Promise<TrainConfig> {
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return readConfig(file);
}

test('all kinds of settings', async () => {
  const config = {
    ...{ data: ['a', 'b:0.2'], valid: 'c', task: ['od'], output: 'runs/x', model: 'm', backend: 'wasm' },
    ...{ epochs: 3, learningRate: 5e-5, betas: [0.9, 0.98], dropout: false, warmupSteps: 0, freeze: [] },
    lora: { r: 4, targets: ['q_proj'], rankPattern: { 'layers\\.0': 8 }, modulesToSave: ['shared'] },
    augment: { flip: 0.5 },
  };
  assert.equal(await read(config), config);
});

for (const [what, content, expected] of [
  [
    'one text instead of a list',
    { data: 'a', task: 'od', freeze: '/fc1/', newTokens: 'x' },
    { data: ['a'], task: ['od'], freeze: ['/fc1/'], newTokens: ['x'] },
  ],
  ['LoRA with all defaults', { lora: true }, { lora: {} }],
  ['no LoRA', { lora: false }, {}],
  ['targets as one text', { lora: { targets: 'all-linear' } }, { lora: { targets: 'all-linear' } }],
] as [string, object, object][]) {
  test(what, async () => assert.equal(await read(content), expected));
}

for (const [what, content, message] of [
  ['a mistyped key', { epoch: 3 }, 'unknown setting epoch. Did you mean epochs?'],
  ['a key with dashes', { 'batch-size': 3 }, 'unknown setting batch-size. Did you mean batchSize?'],
  [
    'an unknown key that resembles none',
    { wheels: 4 },
    'unknown setting wheels. florence2 train --help lists all settings.',
  ],
  ["LoRA's key outside of lora", { r: 4 }, 'unknown setting r. Did you mean lora.r?'],
  ['another key in lora', { lora: { epochs: 4 } }, 'unknown setting lora.epochs. Did you mean epochs?'],
  ['the name of a flag', { out: 'runs/x' }, 'unknown setting out. Did you mean output?'],
  ['the name of a LoRA flag', { loraDropout: 0.1 }, 'unknown setting loraDropout. Did you mean lora.dropout?'],
  ['a mistyped key of LoRA', { lora: { target: 'x' } }, 'unknown setting lora.target. Did you mean lora.targets?'],
  [
    'a flag that is not a setting',
    { check: true },
    'unknown setting check. florence2 train --help lists all settings.',
  ],
  ['a number as a text', { epochs: '3' }, 'epochs is "3", expected a whole number of at least 1.'],
  ['half an epoch', { epochs: 0.5 }, 'epochs is 0.5, expected a whole number of at least 1.'],
  ['null', { seed: null }, 'seed is null, expected a whole number of at least 0.'],
  ['an unknown schedule', { schedule: 'step' }, 'schedule is "step", expected constant, linear or cosine.'],
  ['an empty list', { data: [] }, 'data is [], expected a text or a list of texts.'],
  ['a rank of zero', { lora: { r: 0 } }, 'lora.r is 0, expected a whole number of at least 1.'],
  ['LoRA as a number', { lora: 8 }, 'lora is 8, expected an object.'],
  ['a list of augmentations', { augment: ['flip'] }, 'augment is ["flip"], expected an object.'],
  ['a share above 1', { augment: { crop: 1.5 } }, 'augment.crop is 1.5, expected a number from 0 to 1.'],
  ['one beta', { betas: [0.9] }, 'betas is [0.9], expected two numbers from 0 to 1.'],
] as [string, object, string][]) {
  test(`${what} is refused`, async () => {
    const error = await read(content).catch(error => error);
    assert.instance(error, Florence2Error);
    assert.is(error.message, `${file}: ${message}`);
  });
}

for (const [what, attempt, message] of [
  ['invalid JSON', () => read('{"epochs": 3,}'), /run\.json is not JSON/],
  ['a missing file', () => readConfig(join(folder, 'none.json')), /none\.json does not exist/],
] as [string, () => Promise<unknown>, RegExp][]) {
  test(`${what} is an error that names it`, async () => {
    const error = await attempt().catch((error: Error) => error);
    assert.instance(error, Florence2Error);
    assert.match((error as Error).message, message);
  });
}

test('flags override a file, in groups one by one', () => {
  const base: TrainConfig = { data: ['a'], epochs: 3, seed: 1, lora: { r: 4, alpha: 8 }, augment: { flip: 0.5 } };
  const over: TrainConfig = { data: ['b'], epochs: 5, lora: { r: 16 }, augment: { crop: 0.7 } };
  assert.equal(mergeConfig(base, over), {
    ...{ data: ['b'], epochs: 5, seed: 1 },
    lora: { r: 16, alpha: 8 },
    augment: { flip: 0.5, crop: 0.7 },
  });
  assert.equal(mergeConfig(base, {}), base);
  assert.equal(mergeConfig({}, over), over);
});

test.after(() => rmSync(folder, { recursive: true }));
test.run();
