import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import type { Florence2 } from '../../src/florence2.ts';
import type { GeneratedSequence } from '../../src/generation/decoding.ts';
import { addTokens } from '../../src/training/add_tokens.ts';
import { withoutLeaks } from '../backend.ts';
import { learnerCheckpoint, newFolder, picture, withLearner } from '../training/learner.ts';

const folders = { microsoft: await learnerCheckpoint('microsoft'), native: await learnerCheckpoint('native') };
const readJson = (folder: string, name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
const prompts = ['What does the image describe?', 'a <loc_5><weld>'];

/** The greedy answers to the prompts, with the logarithms of their tokens' probabilities. */
async function answers(florence: Florence2): Promise<Pick<GeneratedSequence, 'ids' | 'logProbs'>[]> {
  const features = await florence.encodeImages([picture(1), picture(2)]);
  const sequences = await florence.generate(features, prompts, { numBeams: 1, maxNewTokens: 8 });
  for (const one of features) one.dispose();
  return sequences.map(([{ ids, logProbs }]) => ({ ids, logProbs }));
}

const cases = [
  { from: 'microsoft', to: 'native' },
  { from: 'native', to: 'microsoft' },
  { from: 'microsoft', to: 'microsoft' },
  { from: 'native', to: 'native' },
] as const;
for (const { from, to } of cases) {
  test(`${from} to ${to}: a model with new tokens and an active adapter answers the same after it was saved`, () =>
    withoutLeaks(() =>
      withLearner(folders[from], async florence => {
        addTokens(florence, ['<weld>']);
        const { layers } = florence.adapters.create('a', { r: 2, targets: ['qkv', 'fc1', 'q_proj'] });
        for (const { b } of layers.values()) b.load(new Float32Array(b.shape.reduce((n, d) => n * d)).fill(0.02));
        const folder = join(newFolder(), 'new', 'saved');
        await florence.save(folder, { layout: to });
        const expected = await answers(florence);
        await withLearner(folder, async saved => {
          assert.is(saved.config.dialect, to);
          assert.is(saved.tokenizer.tokenToId('<weld>'), florence.tokenizer.tokenToId('<weld>'));
          for (const [i, { ids, logProbs }] of (await answers(saved)).entries()) {
            assert.equal(ids, expected[i].ids);
            // A new row of the table has a share of the probabilities.
            const largest = Math.max(...logProbs.map((value, t) => Math.abs(value - expected[i].logProbs[t])));
            assert.ok(largest < 0.01, `log-probabilities differ by ${largest}`);
          }
        });
      }),
    ));
}

test("Microsoft's layout to the native one: the files that transformers' processor reads", () =>
  withLearner(folders.microsoft, async florence => {
    const folder = newFolder();
    await florence.save(folder, { layout: 'native', dtype: 'fp16' });
    const size = florence.tokenizer.size;
    const config = readJson(folder, 'config.json');
    assert.equal([config.image_token_id, config.text_config.vocab_size, config.dtype], [size, size + 1, 'float16']);
    const { added_tokens } = readJson(folder, 'tokenizer.json');
    assert.equal([added_tokens.at(-1).content, added_tokens.at(-1).id], ['<image>', size]);
    assert.is(readJson(folder, 'tokenizer_config.json').extra_special_tokens.image_token, '<image>');
    assert.is(readJson(folder, 'processor_config.json').processor_class, 'Florence2Processor');
    const { image_seq_length, size: side } = readJson(folder, 'preprocessor_config.json');
    assert.equal([image_seq_length, side], [5, { height: 32, width: 32 }], 'a map of 2×2 and its mean');
    await withLearner(folder, async saved => {
      const table = saved.model.languageModel.shared.weight.value;
      const values = (await table.data()) as Float32Array;
      const row = (id: number) => values.slice(id * 16, (id + 1) * 16);
      assert.equal(row(size), row(florence.tokenizer.padTokenId), '<image> is never more likely than <pad>');
    });
  }));

test('the calibration of the model is written', () =>
  withLearner(folders.native, async florence => {
    florence.calibration = { '<OD>': { raw: [0.5], calibrated: [0.25] } };
    const folder = newFolder();
    await florence.save(folder);
    assert.equal(readJson(folder, 'calibration.json'), florence.calibration);
  }));

test('a bias of the logits cannot be saved in the native layout', () =>
  withLearner(folders.microsoft, async florence => {
    const { finalLogitsBias } = florence.model.lmHead;
    finalLogitsBias.load(new Float32Array(finalLogitsBias.shape[1]).fill(0.5));
    const folder = newFolder();
    await refused(florence.save(folder, { layout: 'native' }), /final_logits_bias that is not zero.*layout microsoft/);
    assert.not.ok(readdirSync(dirname(folder)).includes(folder.split(/[\\/]/).at(-1)!), 'nothing is written');
  }));

test('a folder with files is refused and left as it was; an empty one is used', () =>
  withLearner(folders.native, async florence => {
    const folder = newFolder();
    mkdirSync(folder);
    writeFileSync(join(folder, 'notes.txt'), 'mine');
    await refused(florence.save(folder), /is not empty: name a new folder/);
    assert.equal(readdirSync(folder), ['notes.txt']);
    const empty = newFolder();
    mkdirSync(empty);
    await florence.save(empty);
    assert.ok(readdirSync(empty).includes('model.safetensors'));
    await refused(florence.save(newFolder(), { layout: 'hf' as 'native' }), /layout must be native or microsoft/);
  }));

async function refused(saving: Promise<void>, message: RegExp): Promise<void> {
  const error = await saving.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.instance(error, UsageError);
  assert.match((error as Error).message, message);
}

test.run();
