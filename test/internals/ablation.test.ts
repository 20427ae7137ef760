/** Ablation: which values are replaced, by what, and that the effect equals that of the layers' algebra. */
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { ActivationCache } from '../../src/activations/cache.ts';
import { UsageError } from '../../src/errors.ts';
import type { ScopedHook } from '../../src/hooks/hooks.ts';
import { ablate, meanAblation, meanActivation, resampleAblation } from '../../src/internals/ablation.ts';
import { captureForced, forcedLogits } from '../../src/internals/forced_pass.ts';
import type { Replacement } from '../../src/internals/intervention.ts';
import { Question } from '../../src/internals/question.ts';
import type { Site } from '../../src/internals/site.ts';
import type { Florence2Model } from '../../src/model/florence2_model.ts';
import { withoutLeaks } from '../backend.ts';
import { openTiny, street } from './tiny_model.ts';

const model = await openTiny();
const checkers = {
  data: new Uint8Array(96 * 96 * 3).map((_, i) => ((i >> 3) ^ (i >> 6)) & 1 && 255),
  width: 96,
  height: 96,
};
const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A green car' });
const other = await Question.ask(model, checkers, '<CAPTION>', { answer: question.answerIds });
const decoder = 'language_model.decoder.layers';
const encoder = 'language_model.encoder.layers';
const channels = 'vision_tower.blocks.2.0.channel_block.channel_attn.hook_z';
const windows = 'vision_tower.blocks.0.0.spatial_block.window_attn.hook_z';
const features = 'multi_modal_projector.hook_image_features';
const S = question.positions.length;
const T = question.answerIds.length;

async function read(make: () => tf.Tensor): Promise<Float32Array> {
  const tensor = tf.tidy(make);
  return (await download(tensor)).values;
}

/** Returns the activation at a point before and after the hooks. */
async function around(point: string, hooks: ScopedHook[]): Promise<{ before: tf.Tensor; after: tf.Tensor }> {
  const before = new ActivationCache();
  const first: ScopedHook = [point, (x, { name }) => before.put(name, undefined, x.clone())];
  const after = captureForced(model.withHooks([first, ...hooks]), question, point);
  const kept = { before: before.get(point).clone(), after: after.get(point).clone() };
  before.dispose();
  after.dispose();
  return kept;
}

/** Computes which elements belong to a site independently, coordinate by coordinate. */
type Inside = (index: number[]) => boolean;
const cellOf = (size: number) => (y: number, x: number) =>
  Math.floor((y * 3) / size) * 3 + Math.floor((x * 3) / size) + 1;

for (const [what, site, inside] of [
  ['a head', { at: `${decoder}.1.encoder_attn.hook_z`, heads: [2] }, ([, head]) => head === 2],
  ['two heads', { at: `${encoder}.0.self_attn.hook_z`, heads: [0, 3] }, ([, head]) => head === 0 || head === 3],
  ['a layer', { at: `${decoder}.0.hook_cross_attn_out` }, () => true],
  ['positions of a layer', { at: `${decoder}.1.hook_mlp_out`, positions: [0, -1] }, ([, t]) => t === 0 || t === T - 1],
  [
    'positions of the encoder',
    { at: `${encoder}.1.hook_attn_out`, positions: [3, S - 1] },
    ([, s]) => s === 3 || s === S - 1,
  ],
  [
    'a head at a position',
    { at: `${decoder}.1.self_attn.hook_pattern`, heads: [1], positions: [2] },
    ([, head, t]) => head === 1 && t === 2,
  ],
  ['channel groups', { at: channels, heads: [0, 1] }, ([, group]) => group < 2],
  ['a head of windows', { at: windows, heads: [0] }, ([, head]) => head === 0],
  [
    'regions of the image features',
    { at: features, positions: [1, 9] },
    ([, position]) => position === 1 || position === 9,
  ],
  [
    'parts of the pixels',
    { at: 'vision_tower.hook_pixels', positions: [5, 6] },
    ([, y, x]) => [5, 6].includes(cellOf(96)(y, x)),
  ],
  [
    'parts of a map',
    { at: 'vision_tower.blocks.1.0.spatial_block.hook_mlp_out', positions: [3] },
    ([, y, x]) => cellOf(12)(y, x) === 3,
  ],
  ['all of a table', { at: 'language_model.encoder.hook_pos_embed' }, () => true],
] as [string, Site & { at: string }, Inside][]) {
  test(`${what}: only the site becomes zero`, async () => {
    await withoutLeaks(async () => {
      const { before, after } = await around(site.at, ablate(model, site));
      const strides = before.shape.map((_, axis) => before.shape.slice(axis + 1).reduce((a, b) => a * b, 1));
      const [was, is] = [await before.data(), await after.data()];
      let zeros = 0;
      was.forEach((value, i) => {
        const index = strides.map((stride, axis) => Math.floor(i / stride) % before.shape[axis]);
        const expected = inside(index) ? 0 : value;
        if (inside(index) && value !== 0) zeros++;
        if (is[i] !== expected) assert.unreachable(`${site.at}[${index}] is ${is[i]}, it was ${value}`);
      });
      assert.ok(zeros > 0, 'nothing was ablated');
      tf.dispose([before, after]);
    });
  });
}

/** Heads correspond to rows of the following projection's weight: ablating a head equals setting these to zero. */
for (const [what, point, out, head, count] of [
  ['cross-attention', `${decoder}.1.encoder_attn.hook_z`, `${decoder}.1.encoder_attn.out_proj`, 2, 4],
  ['self-attention', `${encoder}.0.self_attn.hook_z`, `${encoder}.0.self_attn.out_proj`, 1, 4],
  ['channel attention', channels, channels.replace('hook_z', 'proj'), 1, model.config.vision.numGroups[2]],
  ['window attention', windows, windows.replace('hook_z', 'proj'), 1, model.config.vision.numHeads[0]],
] as [string, string, string, number, number][]) {
  test(`zero ablation of a head of ${what} equals zeroing its part of the projection`, async () => {
    await withoutLeaks(async () => {
      const hooks = ablate(model, { at: point, heads: [head] });
      const from = point.startsWith('vision_tower') ? 'pixels' : 'features'; // the weights change before the memory
      const ablated = await read(() => hooked(hooks));
      const plain = await read(() => forcedLogits(model, question, { from }));
      const without = await withoutRows(model.model, `${out}.weight`, head, count, () =>
        read(() => forcedLogits(model, question, { from })),
      );
      const moved = difference(ablated, plain).maxAbs;
      assert.ok(moved > 1e-4, `the head does nothing: ${moved}`);
      const { maxAbs } = difference(ablated, without);
      assert.ok(maxAbs < 1e-2 * moved, `off by ${maxAbs}, of ${moved}`);
    });
  });
}

/** Runs `body` with zeros in the rows of a weight [in, out] that a head is multiplied with. */
async function withoutRows<T>(
  network: Florence2Model,
  name: string,
  head: number,
  heads: number,
  body: () => Promise<T>,
): Promise<T> {
  const parameter = network.parameters.get(name)!;
  const kept = parameter.value.clone();
  parameter.replace(
    tf.tidy(() => {
      const width = kept.shape[0] / heads;
      const rows = Array.from({ length: kept.shape[0] }, (_, i) => (Math.floor(i / width) === head ? 0 : 1));
      return tf.mul(kept, tf.tensor2d(rows, [kept.shape[0], 1]));
    }),
  );
  try {
    return await body();
  } finally {
    parameter.replace(kept);
  }
}

/** Returns the logits of the question with hooks. Called in a tidy. */
function hooked(hooks: ScopedHook[]): tf.Tensor {
  return forcedLogits(model.withHooks(hooks), question);
}

test('mean ablation inserts the mean of other questions of any length', async () => {
  await withoutLeaks(async () => {
    const longer = await Question.ask(model, checkers, '<CAPTION>', { answer: 'A white cat on a red car' });
    const points = [
      `${decoder}.1.hook_mlp_out`,
      `${decoder}.1.encoder_attn.hook_z`,
      'vision_tower.hook_pixels',
      windows,
    ];
    const caches = [other, longer].map(one => captureForced(model, one, points, { from: 'pixels' }));
    for (const point of points) {
      const { before, after } = await around(point, ablate(model, { at: point }, meanAblation(caches)));
      const isHeaded = point.endsWith('hook_z');
      // One mean per channel (of each head), over all other axes.
      const values = await Promise.all(caches.map(cache => cache.array(point)));
      const [rank, last] = [before.rank, before.shape.at(-1)!];
      const heads: number = isHeaded ? before.shape[1]! : 1;
      const perHead = isHeaded ? before.shape[2]! * last : 0;
      const [sums, counts] = [new Float64Array(heads * last), new Float64Array(heads * last)];
      const keyOf = (i: number, length: number) =>
        (isHeaded ? Math.floor(i / (length * last)) % heads : 0) * last + (i % last);
      for (const { values: x, shape } of values) {
        x.forEach((value, i) => {
          sums[keyOf(i, shape[rank - 2])] += value;
          counts[keyOf(i, shape[rank - 2])]++;
        });
      }
      const got = await after.data();
      got.forEach((value, i) => {
        const key = keyOf(i, perHead / last);
        const error = Math.abs(value - sums[key] / counts[key]);
        if (error > 1e-4) assert.unreachable(`${point}, element ${i}: off by ${error}`);
      });
      tf.dispose([before, after]);
    }
    for (const owner of [...caches, longer]) owner.dispose();
  });
});

test('resample ablation inserts the activations of other questions, one per row', async () => {
  await withoutLeaks(async () => {
    const point = `${decoder}.0.encoder_attn.hook_z`;
    const caches = [other, question].map(one => captureForced(model, one, [point, windows], { from: 'pixels' }));
    const hooks = ablate(model, { at: [point, windows], heads: [1] }, resampleAblation(caches));
    const made = captureForced(model.withHooks(hooks), question, [point, windows], { rows: 3, from: 'pixels' });
    for (const name of [point, windows]) {
      const plain = captureForced(model, question, name, { rows: 3, from: 'pixels' });
      const rows = made.shape(name)[0] / 3;
      for (const [row, from] of [
        [0, 0],
        [1, 1],
        [2, 0],
      ]) {
        const got = await read(() => tf.slice(made.get(name, { head: 1 }), [row * rows], [rows]));
        const want = await caches[from].array(name, { head: 1 });
        assert.is(difference(got, want.values).maxAbs, 0, `${name}, row ${row}`);
      }
      if (name === windows) {
        const [got, want] = [await made.array(name, { head: 0 }), await plain.array(name, { head: 0 })];
        assert.ok(difference(got.values, want.values).maxAbs <= 2e-5); // the order of sums may differ with hooks
      }
      plain.dispose();
    }
    for (const cache of [...caches, made]) cache.dispose();
  });
});

test('in a generation, positions are steps, with and without a cache, for every beam', async () => {
  await withoutLeaks(async () => {
    for (const point of [`${decoder}.1.encoder_attn.hook_z`, `${decoder}.1.hook_resid_post`]) {
      for (const useCache of [true, false]) {
        const options = { numBeams: 2, maxNewTokens: 4, noRepeatNgramSize: 0, useCache, names: point };
        const hooks = ablate(model, { at: point, positions: [2] });
        const { cache } = await model.withHooks(hooks).runWithCache(street, '<CAPTION>', options);
        const axis = point.endsWith('hook_z') ? 2 : 1;
        for (const step of cache.steps(point)) {
          const x = cache.get(point, { step });
          const sums = await read(() =>
            tf.sum(
              tf.abs(x),
              x.shape.map((_, i) => i).filter(i => i !== axis),
            ),
          );
          sums.forEach((sum, i) => {
            const position = step + 1 - sums.length + i;
            assert.is(sum === 0, position === 2, `${point}, step ${step}, position ${position}: ${sum}`);
          });
        }
        cache.dispose();
      }
    }
  });
});

test('a run works with ablated image features', async () => {
  await withoutLeaks(async () => {
    const options = { numBeams: 1, maxNewTokens: 6, noRepeatNgramSize: 0, names: features };
    const cells = Array.from({ length: 10 }, (_, i) => i);
    const { cache } = await model
      .withHooks(ablate(model, { at: features, positions: cells }))
      .runWithCache(street, '<CAPTION>', options);
    const { values } = await cache.array(features);
    assert.ok(values.every(value => value === 0));
    cache.dispose();
  });
});

test('wrong sites are errors that list the valid ones', async () => {
  const cache = captureForced(model, other, `${decoder}.1.hook_mlp_out`);
  const short = await Question.ask(model, street, '<CAPTION>', { answer: 'A' });
  await withoutLeaks(async () => {
    for (const [site, by, message, asked] of [
      [
        { at: `${decoder}.1.encoder_attn.hook_z`, heads: [4] },
        undefined,
        /Head 4 does not exist at .*hook_z; heads are 0 to 3/,
      ],
      [{ at: `${decoder}.1.hook_mlp_out`, heads: [0] }, undefined, /hook_mlp_out has no heads/],
      [
        { at: `${decoder}.1.hook_mlp_out`, positions: [T] },
        undefined,
        new RegExp(`Position ${T} does not exist at .*; positions are 0 to ${T - 1}`),
      ],
      [
        { at: 'vision_tower.hook_pixels', positions: [0] },
        undefined,
        /Position 0 does not exist at .*; the image's map has positions 1 to 9/,
      ],
      [{ at: windows, positions: [1] }, undefined, /no positions in the image/],
      [
        { at: 'language_model.encoder.hook_pos_embed', positions: [1] },
        undefined,
        /a position embedding that all rows share/,
      ],
      [{ at: `${decoder}.0.hook_mlp_out` }, resampleAblation(cache), /hook_mlp_out was not kept/],
      [{ at: `${decoder}.1.hook_mlp_out` }, resampleAblation(cache), /questions must have the same length/, short],
      [
        { at: `${decoder}.1.hook_mlp_out` },
        resampleAblation([cache, cache]),
        /questions must have the same length/,
        short,
      ],
    ] as [Site, Replacement | undefined, RegExp, Question | undefined][]) {
      const attempt = () => forcedLogits(model.withHooks(ablate(model, site, by)), asked ?? question);
      assert.throws(attempt, (error: Error) => error instanceof UsageError && message.test(error.message));
    }
    assert.throws(() => meanActivation([], 'hook_logits'), /No activation caches/);
  });
  cache.dispose();
  short.dispose();
});

test.run();
