/** Compares the data of a report with the model's answers and activations. */
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeImage } from '../../src/image/decode.ts';
import { collectReport } from '../../src/inspect/collect.ts';
import { captureForced } from '../../src/internals/forced_pass.ts';
import { Question } from '../../src/internals/question.ts';
import { withoutLeaks } from '../backend.ts';
import { near } from '../internals/near.ts';
import { openTiny, street } from '../internals/tiny_model.ts';
import { unpackRows } from './unpack_rows.ts';

const model = await openTiny();
const image = await decodeImage(street);
const names = { model: 'tiny', image: 'street.jpg' };
const options = { numBeams: 2, maxNewTokens: 10, names };

const stages: string[] = [];
const report = await withoutLeaks(() =>
  collectReport(model, image, '<OD>', { ...options, onStage: stage => stages.push(stage) }),
);
const features = await model.encodeImage(image);
const [[generated]] = await model.generate([features], ['Locate the objects with category name in the image.'], {
  numBeams: 2,
  maxNewTokens: 10,
});
features.dispose();
const T = generated.logProbs.length;

test('the answer equals that of run', async () => {
  const result = await model.run(image, '<OD>', { numBeams: 2, maxNewTokens: 10 });
  assert.is(report.answer.text, result.answer);
  assert.is(report.answer.truncated, result.truncated);
  assert.equal(report.tokens.map(({ id }) => id), [...generated.ids].slice(1)); // biome-ignore format: one line
  assert.is(report.prompt, 'Locate the objects with category name in the image.');
  assert.is(stages.length, 4);
});

test('probabilities equal those of the generation, except for forced tokens', () => {
  assert.is(report.tokens[0].forced, true);
  assert.is(report.tokens.at(-1)!.forced, generated.truncated || T === 10);
  for (const [t, { forced, p, text, alternatives, rank }] of report.tokens.entries()) {
    const expected = Math.exp(generated.logProbs[t]);
    if (!forced) assert.ok(Math.abs(p - expected) < 1e-4 * expected + 1e-7, `token ${t}: ${p}, generated ${expected}`);
    else assert.ok(p < 1, `token ${t} has the probability that the model itself assigns`);
    assert.is(alternatives.length, 8);
    const ps = alternatives.map(candidate => candidate.p);
    assert.equal(
      ps,
      [...ps].sort((a, b) => b - a),
    );
    if (rank <= 8) assert.is(alternatives[rank - 1].text, text);
    else assert.ok(p <= ps[7]);
  }
});

test('attention equals the activations up to the packing error, and each row sums to 1', async () => {
  const { weights, layers, heads, rows, columns, prompt } = report.attention;
  const S = 1 + rows * columns + prompt.length;
  assert.equal(weights.shape, [T, layers, heads, S]);
  assert.equal([rows, columns], [3, 3]);
  const values = unpackRows(weights);
  await withoutLeaks(async () => {
    const question = await Question.ask(model, image, '<OD>', { answer: generated.ids });
    assert.equal(prompt, question.positions.slice(1 + rows * columns));
    const cache = captureForced(model, question, '**.encoder_attn.hook_pattern');
    for (let layer = 0; layer < layers; layer++) {
      const name = 'language_model.decoder.layers.{layer}.encoder_attn.hook_pattern';
      const { values: expected, shape } = await cache.array(name, { layer }); // [1, heads, T, S]
      for (let t = 0; t < T; t++) {
        for (let head = 0; head < heads; head++) {
          const at = ((t * layers + layer) * heads + head) * S;
          const row = values.subarray(at, at + S);
          const from = (head * shape[2] + t) * S;
          near(row, expected.subarray(from, from + S), 1 / 200, `token ${t}, layer ${layer}, head ${head}`);
          const sum = row.reduce((a, b) => a + b, 0);
          assert.ok(Math.abs(sum - 1) < 0.01, `token ${t}, layer ${layer}, head ${head} sums to ${sum}`);
        }
      }
    }
    cache.dispose();
    question.dispose();
  });
});

test("the last layer of the lens equals the model's predictions", () => {
  const { layers, top, said } = report.lens;
  assert.equal(layers, ['embedding', ...Array.from({ length: layers.length - 1 }, (_, i) => `layer ${i}`)]);
  assert.is(layers.length, 1 + model.config.text.decoderLayers);
  for (const [t, { p, alternatives }] of report.tokens.entries()) {
    assert.equal(top.at(-1)![t], alternatives.slice(0, 5));
    assert.is(said.at(-1)![t], p);
  }
  for (const layer of top) assert.is(layer.length, T);
});

test('norms are the mean L2 norms of every block', async () => {
  const question = await Question.ask(model, image, '<OD>', { answer: generated.ids });
  const cache = captureForced(model, question, [/hook_(resid_post|attn_out|cross_attn_out|mlp_out)$/], {
    from: 'pixels',
  });
  const prefixes = ['vision_tower.blocks.', 'language_model.encoder.layers.', 'language_model.decoder.layers.'];
  let compared = 0;
  for (const [i, { blocks, series }] of report.norms.entries()) {
    for (const { name, values } of series) {
      for (const [k, block] of blocks.entries()) {
        const module = block.replace(/ (\w+)$/, '.$1_block');
        const { values: activation, shape } = await cache.array(`${prefixes[i]}${module}.${name}`);
        const width = shape.at(-1)!;
        let total = 0;
        for (let from = 0; from < activation.length; from += width) {
          total += Math.hypot(...activation.subarray(from, from + width));
        }
        const expected = (total * width) / activation.length;
        assert.ok(Math.abs(values[k]! - expected) < 1e-3 * expected, `${block} ${name}: ${values[k]}, not ${expected}`);
        compared++;
      }
    }
  }
  assert.is(compared, cache.names.length, 'every point is in one of the charts');
  const { depths } = model.config.vision;
  assert.equal(report.norms[0].groups.map(({ label }) => label), depths.map((_, stage) => `stage ${stage}`)); // biome-ignore format: one line
  cache.dispose();
  question.dispose();
});

test('an answer that is cut off at the limit contains only generated tokens', async () => {
  await withoutLeaks(async () => {
    const cut = await collectReport(model, image, '<CAPTION>', {
      ...options,
      numBeams: 1,
      maxNewTokens: 3,
      forcedEosTokenId: null,
    });
    if (cut.answer.truncated) assert.is(cut.tokens.length, 3);
    assert.is(cut.attention.weights.shape[0], cut.tokens.length);
    assert.is(cut.lens.said[0].length, cut.tokens.length);
  });
});

test('names have defaults', async () => {
  await withoutLeaks(async () => {
    const {
      title,
      model: said,
      image,
    } = await collectReport(model, street, '<CAPTION>', { numBeams: 1, maxNewTokens: 3 });
    assert.is(title, '<CAPTION> · street.jpg');
    assert.equal([said.name, image.width, image.height], [model.folder, 768, 512]);
  });
});

test('a turned image is shown upright, and its box is in pixels of the stored image', async () => {
  const upright = await sharp(street).png().toBuffer(); // 768 x 512
  const turned = await sharp(upright).rotate(-90).withMetadata({ orientation: 6 }).png().toBuffer();
  const asked = { numBeams: 1, maxNewTokens: 4, names };
  await withoutLeaks(async () => {
    const expected = await collectReport(model, upright, '<REGION_TO_CATEGORY>', { ...asked, box: [10, 20, 300, 200] });
    const got = await collectReport(model, turned, '<REGION_TO_CATEGORY>', {
      ...asked,
      box: [20, 468, 200, 758],
      orientation: 'apply',
    });
    assert.equal(got, expected);
    assert.equal([got.image.width, got.image.height], [768, 512]);
  });
});

test('aborting throws the reason and leaks nothing', async () => {
  await withoutLeaks(async () => {
    const controller = new AbortController();
    const onStage = (_: string, index: number) => index === 2 && controller.abort(new Error('enough'));
    const error = await collectReport(model, image, '<OD>', { ...options, signal: controller.signal, onStage }).catch(
      error => error,
    );
    assert.is(error.message, 'enough');
  });
});

test.run();
