import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Florence2 } from '../../src/florence2.ts';
import { addTokens } from '../../src/training/add_tokens.ts';
import type { TrainerOptions } from '../../src/training/options.ts';
import { Trainer } from '../../src/training/trainer.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { apart, dataset, learnerCheckpoint, newFolder, picture, trainOn, valuesOf, withLearner } from './learner.ts';

const folders = { microsoft: await learnerCheckpoint('microsoft'), native: await learnerCheckpoint('native') };
/** Tokens of these checkpoints. Native ones have `<image>` in the next row and are padded to 1344 rows. */
const TOKENS = 1285;
const many = Array.from({ length: 70 }, (_, i) => `<new_${i}>`);

const rowsOf = async ({ model }: Florence2): Promise<number[][]> => {
  const { shape, value } = model.languageModel.shared.weight;
  assert.equal(value.shape, shape);
  return (value as tf.Tensor2D).array();
};

const cases: [layout: keyof typeof folders, tokens: string[], firstId: number, rows: number][] = [
  ['microsoft', ['<weld>', 'crack'], TOKENS, TOKENS + 2],
  ['native', ['<weld>', 'crack'], TOKENS + 1, 1344], // spare rows, after <image>
  ['native', many, TOKENS + 1, TOKENS + 1 + 70],
];
for (const [layout, tokens, firstId, rows] of cases) {
  test(`${layout}, ${tokens.length} new tokens: ids of transformers, rows equal to the mean, everything else unchanged`, () =>
    withoutLeaks(() =>
      withLearner(folders[layout], async florence => {
        const before = await rowsOf(florence);
        assert.is(addTokens(florence, [...tokens, tokens[0], '<od>']), tokens.length, 'number of new tokens');
        const { tokenizer, config, model } = florence;
        assert.equal(
          tokens.map(token => tokenizer.tokenToId(token)),
          tokens.map((_, i) => firstId + i),
        );
        assert.is(config.text.vocabSize, rows);
        const after = await rowsOf(florence);
        assert.is(after.length, rows);
        const known = before.slice(0, firstId);
        const mean = known[0].map((_, column) => known.reduce((sum, row) => sum + row[column], 0) / known.length);
        after.forEach((row, id) => {
          const isNew = id >= firstId && id < firstId + tokens.length;
          const expected = isNew ? mean : before[id];
          const by = Math.max(...row.map((x, i) => Math.abs(x - expected[i])));
          assert.ok(by <= (isNew ? 1e-6 : 0), `row ${id} differs by ${by}`);
        });
        assert.equal(model.lmHead.finalLogitsBias.shape, [1, rows]);
        assert.is(addTokens(florence, tokens), 0, 'existing tokens are not added again');
      }),
    ));
}

test('an untied head grows by the mean of its rows, and a bias by zeros', () =>
  withLearner(folders.microsoft, async florence => {
    const { lmHead } = florence.model;
    lmHead.weight.replace(tf.tidy(() => tf.mul(lmHead.weight.value, 3)));
    lmHead.finalLogitsBias.load(new Float32Array(TOKENS).fill(0.5));
    addTokens(florence, many);
    const head = (await lmHead.weight.value.array()) as number[][];
    const table = await rowsOf(florence);
    assert.is(head.length, TOKENS + 70);
    assert.ok(head.at(-1)!.every((x, i) => Math.abs(x - 3 * table.at(-1)![i]) < 1e-5));
    const bias = [...(await lmHead.finalLogitsBias.value.data())];
    assert.equal([bias[TOKENS - 1], ...bias.slice(TOKENS)], [0.5, ...many.map(() => 0)]);
  }));

test('invalid tokens are refused, and nothing is changed', () =>
  withLearner(folders.microsoft, async florence => {
    assert.throws(() => addTokens(florence, ['<ok>', ' ']), /A new token must contain a visible character/);
    florence.adapters.create('head', { r: 1, targets: ['lm_head'] });
    assert.throws(() => addTokens(florence, ['<ok>']), /cannot be added while an adapter of the embeddings/);
    assert.is(florence.tokenizer.tokenToId('<ok>'), undefined);
    assert.is(florence.config.text.vocabSize, TOKENS);
  }));

const set = {
  ...dataset(1),
  example: () => ({ image: picture(1), source: 'a:1', targets: [{ task: '<CAPTION>', answer: 'a <weld> b' }] }),
};
const given = { train: set, newTokens: ['<weld>', 'crack'] };
// These runs train the embeddings, for which wasm has no gradients.
const check = testBackend === 'wasm' ? test.skip : test;

const sameTokens = (saved: Florence2, florence: Florence2): void => {
  const texts = ['a <weld> b', 'cracks', '<loc_999></s>'];
  for (const text of texts) assert.equal(saved.tokenizer.encode(text), florence.tokenizer.encode(text), text);
  assert.is(saved.config.text.vocabSize, florence.config.text.vocabSize);
};

for (const layout of ['microsoft', 'native'] as const) {
  check(`${layout}, full: new tokens are trained, and saved with a matching tokenizer and config`, () =>
    withoutLeaks(() =>
      withLearner(folders[layout], async florence => {
        const { output } = await trainOn(florence, { ...given, epochs: 2 });
        const [weld, crack] = given.newTokens.map(token => florence.tokenizer.tokenToId(token)!);
        const rows = await rowsOf(florence);
        assert.not.equal(rows[weld], rows[crack], 'only one of them occurs in an answer');
        await withLearner(join(output, 'latest'), async saved => {
          sameTokens(saved, florence);
          assert.is(apart(await valuesOf(saved), await valuesOf(florence)).by, 0);
          await saved.run(picture(1), '<CAPTION>');
        });
        const json = JSON.parse(readFileSync(join(output, 'latest', 'config.json'), 'utf8'));
        assert.is(json.text_config.vocab_size, florence.config.text.vocabSize);
        if (layout === 'microsoft') assert.is(json.vocab_size, TOKENS + 2);
        // The saved checkpoint can be trained further, with the same tokens and more.
        await withLearner(join(output, 'latest'), async saved => {
          const more = { ...given, newTokens: ['<weld>', '<seam>'] };
          await trainOn(saved, more);
          assert.is(saved.tokenizer.tokenToId('<seam>'), crack + 1);
        });
      }),
    ),
  );

  check(`${layout}, LoRA: the adapter contains the embeddings, and base is its checkpoint`, () =>
    withoutLeaks(() =>
      withLearner(folders[layout], async florence => {
        const { output } = await trainOn(florence, { ...given, lora: { r: 2 }, epochs: 2 });
        const config = JSON.parse(readFileSync(join(output, 'latest', 'adapter_config.json'), 'utf8'));
        assert.is(config.base_model_name_or_path, join(output, 'base'));
        await withLearner(join(output, 'base'), async base => {
          sameTokens(base, florence);
          await base.loadAdapter(join(output, 'latest'));
          const { by, name } = apart(await valuesOf(base), await valuesOf(florence));
          assert.is(by, 0, name);
        });
      }),
    ),
  );
}

check('a stopped run with new tokens resumes from its original checkpoint', () =>
  withoutLeaks(async () => {
    for (const how of [{ lora: { r: 2 } }, { freeze: [/^vision_tower/] }]) {
      const options = { ...given, ...how, epochs: 3, epsilon: 1e-4 };
      const output = newFolder();
      const stopping = new AbortController();
      const onStep = () => stopping.abort();
      await withLearner(folders.native, florence => trainOn(florence, { ...options, output, onStep }, stopping));
      await withLearner(folders.native, async whole => {
        await trainOn(whole, options);
        await withLearner(folders.native, async resumed => {
          await trainOn(resumed, { ...options, output, resume: true });
          const { by, name } = apart(await valuesOf(resumed), await valuesOf(whole));
          assert.ok(by <= (testBackend === 'cpu' ? 0 : 1e-5), `${name} differs by ${by}`);
        });
      });
      assert.is(existsSync(join(output, 'base')), 'lora' in how);
    }
  }),
);

test('new tokens with frozen embeddings are refused', () =>
  withLearner(folders.microsoft, async florence => {
    const freeze: TrainerOptions['freeze'] = ['language_model.shared', /^(vision|multi)/];
    assert.throws(
      () => new Trainer(florence, { ...given, freeze, output: newFolder() }),
      /^newTokens needs language_model\.shared to be trained, but freeze includes it\.$/,
    );
  }));

test.run();
