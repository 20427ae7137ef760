/** Attention weights: compared with PyTorch, with sums of 1, and with positions on the image. */
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Activation, difference } from '../../src/activations/activation.ts';
import { ActivationCache } from '../../src/activations/cache.ts';
import { UsageError } from '../../src/errors.ts';
import { Capture } from '../../src/hooks/capture.ts';
import { attentionLabels, overImage } from '../../src/internals/attention_labels.ts';
import {
  type AttentionKind,
  type AttentionLayer,
  type AttentionMap,
  attention,
  attentionPoints,
} from '../../src/internals/attention_maps.ts';
import { captureForced } from '../../src/internals/forced_pass.ts';
import { Question } from '../../src/internals/question.ts';
import { denseWindowAttention, windowAttentionFrom } from '../../src/internals/window_maps.ts';
import type { Attention } from '../../src/language/attention.ts';
import type { Linear } from '../../src/nn/layers.ts';
import { encodeImages, encodePrompts, forcedLogits, readPixels, type Subject } from '../../src/parity/subject.ts';
import { tensorTolerance } from '../../src/parity/tolerance.ts';
import type { CacheOptions } from '../../src/requests.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { withoutLeaks } from '../backend.ts';
import { reference, wholeReference } from '../reference.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { openSubject } from './subject.ts';
import { openTiny, street } from './tiny_model.ts';

const KINDS: AttentionKind[] = ['window', 'channel', 'encoder', 'decoder', 'cross'];
const folder = temporaryFolder();

// ------------------------------------------------------------------------------------------------------- against PyTorch

/**
 * One attention whose output in PyTorch is recomputed from the weights read here: output(weights · values), with values
 * in the order of the map or the tokens. Weights at wrong positions result in a different output.
 */
interface Rebuilt {
  /** Name of the output in the dump. */
  name: string;
  file: string;
  /** Shape over all rows of the batch. */
  make: () => Promise<tf.Tensor>;
}

const at = (map: Activation): tf.Tensor3D => tf.tensor3d(map.values, map.shape as [number, number, number]);

/** [N, heads · d] -> [heads, N, d] */
const heads = (x: tf.Tensor, count: number): tf.Tensor3D => {
  const [N, C] = x.shape;
  return tf.transpose(tf.reshape(x, [N, count, C / count]), [1, 0, 2]) as tf.Tensor3D;
};
const merged = (z: tf.Tensor3D): tf.Tensor =>
  tf.reshape(tf.transpose(z, [1, 0, 2]), [z.shape[1], z.shape[0] * z.shape[2]]);

function visionCases({ model }: Subject, cache: ActivationCache, file = 'vision'): Rebuilt[] {
  return model.visionTower.blocks.flatMap((stage, s) =>
    stage.flatMap((block, b) =>
      (['spatial', 'channel'] as const).map((half): Rebuilt => {
        const path = `vision_tower.blocks.${s}.${b}.${half}_block`;
        const { norm1, attention: layer } = half === 'spatial' ? block.spatialBlock : block.channelBlock;
        const make = async () => {
          const before = cache.get(`${path}.hook_resid_pre`);
          const rows: tf.Tensor[] = [];
          for (let row = 0; row < before.shape[0]; row++) {
            const maps = await weightsOf(cache, half, `${s}.${b}`, row);
            rows.push(
              tf.tidy(() => {
                const x = tf.gather(tf.add(before, cache.get(`${path}.hook_conv1`)), [row]); // [1, H, W, C]
                const C = x.shape.at(-1)!;
                const qkv = tf.reshape(layer.qkv.forward(norm1.forward(x)), [-1, 3 * C]); // [N, 3C]
                const value = tf.slice(qkv, [0, 2 * C], [-1, C]);
                return layer.proj.forward(maps(value, layer.qkv));
              }),
            );
          }
          return stackRows(rows);
        };
        return { name: `vision.stage${s}.block${b}.${half}.attn`, file, make };
      }),
    ),
  );
}

/** Returns a function that sums values [N, C] with the weights of one image. */
async function weightsOf(cache: ActivationCache, half: 'spatial' | 'channel', layer: string, row: number) {
  if (half === 'channel') {
    const map = await attention(cache, 'channel', layer, undefined, { row });
    return (value: tf.Tensor) => merged(tf.matMul(heads(value, map.shape[0]), at(map), false, true));
  }
  const map = await attention(cache, 'window', layer, undefined, { row });
  const dense = denseWindowAttention(map);
  const [count, H, W] = map.shape;
  return (value: tf.Tensor, qkv: Linear) => {
    const C = value.shape[1]!;
    const bias = tf.reshape(tf.slice(qkv.bias!.value, [2 * C], [C]), [count, 1, C / count]); // the value of padding
    const onPadding = tf.mul(tf.tensor(map.onPadding, [count, H * W, 1]), bias);
    return merged(tf.add(tf.matMul(at(dense), heads(value, count)), onPadding));
  };
}

function textCases({ model }: Subject, cache: ActivationCache): Rebuilt[] {
  const { encoder, decoder } = model.languageModel;
  const states = `language_model.encoder.layers.${encoder.layers.length - 1}.hook_resid_post`;
  const own = (side: string, layer: number) => `language_model.${side}.layers.${layer}.hook_resid_pre`;
  const case_ = (kind: 'encoder' | 'decoder' | 'cross', layer: number, module: Attention, source: string): Rebuilt => ({
    name: `${kind === 'encoder' ? 'encoder' : 'decoder'}.layer${layer}.${kind === 'cross' ? 'cross' : 'self'}_attn`,
    file: 'text',
    make: async () => {
      const from = cache.get(source); // [B, S, D]
      const rows: tf.Tensor[] = [];
      for (let row = 0; row < from.shape[0]; row++) {
        const map = await attention(cache, kind, layer, undefined, { row });
        rows.push(
          tf.tidy(() => {
            const value = module.vProj.forward(tf.squeeze(tf.gather(from, [row]), [0])); // [S, D]
            return module.outProj.forward(merged(tf.matMul(at(map), heads(value, map.shape[0]))));
          }),
        );
      }
      return stackRows(rows);
    },
  });
  return [
    ...encoder.layers.map(({ selfAttn }, i) => case_('encoder', i, selfAttn, own('encoder', i))),
    ...decoder.layers.map(({ selfAttn }, i) => case_('decoder', i, selfAttn, own('decoder', i))),
    ...decoder.layers.map(({ encoderAttn }, i) => case_('cross', i, encoderAttn, states)),
  ];
}

function stackRows(rows: tf.Tensor[]): tf.Tensor {
  const stacked = tf.stack(rows);
  tf.dispose(rows);
  return stacked;
}

/** Runs the reference's images, prompts and answers and keeps all activations. */
async function captureSubject(subject: Subject): Promise<ActivationCache> {
  const cache = new ActivationCache();
  const kept = { ...subject, hooks: subject.hooks.with([new Capture('**', cache).hook]) };
  const features = await encodeImages(kept);
  const logits = await forcedLogits(kept, await encodePrompts({ ...kept, features }, true));
  tf.dispose([features, logits]);
  return cache;
}

/** Compares the outputs that the dump contains and returns their number. */
async function compareOutputs({ manifest }: Subject, cases: Rebuilt[]): Promise<number> {
  let compared = 0;
  for (const { name, file, make } of cases) {
    const tensor = manifest.files.get(`${file}.safetensors`)!.find(dumped => dumped.name === name);
    if (!tensor) continue;
    const dump = await openSafetensors(join(manifest.folder, `${file}.safetensors`));
    const want = await dump.readFloat32(name);
    const made = await make();
    const { maxAbs } = difference(await made.data(), want);
    const allowed = tensorTolerance(tensor)!;
    assert.ok(maxAbs <= allowed, `${file} ${name}: ${maxAbs}, ${allowed} is allowed`);
    made.dispose();
    await dump.close();
    compared++;
  }
  return compared;
}

for (const [variant, expected] of [
  ['tiny-pad', 15],
  ...(wholeReference ? ([['tiny', 14], ['tiny-large', 20]] as const) : []), // biome-ignore format: one line
] as [string, number][]) {
  test(`${variant}: the weights reproduce PyTorch's outputs, and equal PyTorch's weights where it returns them`, async () => {
    const subject = await openSubject(variant);
    await withoutLeaks(async () => {
      const cache = await captureSubject(subject);
      let compared = await compareOutputs(subject, [...visionCases(subject, cache), ...textCases(subject, cache)]);
      assert.is(compared, expected, 'number of compared outputs');

      const dump = await openSafetensors(reference(`model/${variant}/text.safetensors`));
      for (const tensor of subject.manifest.files.get('text.safetensors')!) {
        const [, side, layer, of] = /^(\w+)\.layer(\d+)\.(self|cross)_attn_weights$/.exec(tensor.name) ?? [];
        if (!side) continue;
        const want = await dump.readFloat32(tensor.name);
        const kind = of === 'cross' ? 'cross' : (side as 'encoder' | 'decoder');
        const [B, count] = tensor.shape;
        for (let i = 0; i < B * count; i++) {
          const one = await attention(cache, kind, Number(layer), i % count, { row: Math.floor(i / count) });
          assert.equal(one.shape, tensor.shape.slice(2));
          const size = one.values.length;
          const { maxAbs } = difference(one.values, want.subarray(i * size, (i + 1) * size));
          assert.ok(maxAbs <= tensorTolerance(tensor)!, `${tensor.name}, row and head ${i}: ${maxAbs}`);
        }
        compared++;
      }
      if (variant === 'tiny') assert.ok(compared === expected + 6, 'weights from PyTorch were not compared');
      await dump.close();
      cache.dispose();
    });
    subject.model.dispose();
    await subject.inputs.close();
  });
}

test("on an image that is not square, rows and columns equal PyTorch's", async () => {
  const subject = await openSubject('tiny-pad');
  await withoutLeaks(async () => {
    const file = await openSafetensors(reference('model/tiny-pad/nonsquare.safetensors'));
    const pixels = await readPixels(file); // [1, 64, 128, 3]
    const cache = new ActivationCache();
    const hooks = subject.hooks.with([new Capture('**', cache).hook]);
    tf.dispose([subject.model.encodeImage(pixels, hooks.root()), pixels]);
    assert.equal((await attention(cache, 'window', '3.0')).size, [2, 4]);
    assert.is(await compareOutputs(subject, visionCases(subject, cache, 'nonsquare')), 5);
    cache.dispose();
    await file.close();
  });
  subject.model.dispose();
  await subject.inputs.close();
});

// ----------------------------------------------------------------------------------------------------------- one model

const model = await openTiny();
const { vision, text } = model.config;
const free = { maxNewTokens: 6, forcedBosTokenId: null, forcedEosTokenId: null, noRepeatNgramSize: 0 };
const greedy = { ...free, numBeams: 1 };
const names = KINDS.flatMap(kind => attentionPoints(kind));
const question = await Question.ask(model, street, '<CAPTION>', greedy);
const labels = attentionLabels(model, question);
const [T, S] = [question.answerIds.length, question.positions.length];
const run = (options: CacheOptions) => model.runWithCache(street, '<CAPTION>', { names, ...options });
const forced = captureForced(model, question, names);

const layersOf = (kind: AttentionKind): AttentionLayer[] => {
  if (kind === 'window' || kind === 'channel') {
    return vision.depths.flatMap((depth, stage) => Array.from({ length: depth }, (_, block) => `${stage}.${block}`));
  }
  return [...Array(kind === 'encoder' ? text.encoderLayers : text.decoderLayers).keys()];
};

function assertRowsSumToOne(values: Float32Array, width: number, what: string, also?: Float32Array): void {
  for (let row = 0; row < values.length / width; row++) {
    const weights = values.subarray(row * width, (row + 1) * width);
    assert.ok(weights.every(weight => weight >= 0 && weight <= 1), `${what}, row ${row}`); // biome-ignore format: one line
    const sum = weights.reduce((a, b) => a + b, also?.[row] ?? 0);
    assert.ok(Math.abs(sum - 1) < 1e-5, `${what}: row ${row} sums to ${sum}`);
  }
}

test('every row of every attention sums to 1, and shapes are as documented', async () => {
  await withoutLeaks(async () => {
    for (const kind of KINDS) {
      for (const layer of layersOf(kind)) {
        const what = `${kind} ${layer}`;
        const stage = Number(String(layer).split('.')[0]);
        if (kind === 'window') {
          const map = await attention(forced, 'window', layer);
          const [count, w, H] = [vision.numHeads[stage], vision.windowSize, 24 / 2 ** stage];
          assert.equal(map.shape, [count, H, H, w, w]);
          assert.equal(map.size, [H, H]);
          assertRowsSumToOne(map.values, w * w, what, map.onPadding);
          const padded = H % w > 0;
          assert.is(map.onPadding.some(weight => weight > 0), padded, what); // biome-ignore format: one line
          const one = await attention(forced, 'window', layer, 1);
          assert.equal(one.shape, [H, H, w, w]);
          assert.equal(one.values, map.values.slice(H * H * w * w, 2 * H * H * w * w));
          assert.equal(one.onPadding, map.onPadding.slice(H * H, 2 * H * H));
          continue;
        }
        const map = await attention(forced, kind, layer);
        const c = vision.dimEmbed[stage] / vision.numGroups[stage];
        const want = {
          channel: [vision.numGroups[stage], c, c],
          encoder: [text.encoderAttentionHeads, S, S],
          decoder: [text.decoderAttentionHeads, T, T],
          cross: [text.decoderAttentionHeads, T, S],
        }[kind];
        assert.equal(map.shape, want, what);
        assertRowsSumToOne(map.values, want[2], what);
        const one = await attention(forced, kind, layer, 1);
        assert.equal(one.shape, want.slice(1));
        const size = one.values.length;
        assert.equal(one.values, map.values.slice(size, 2 * size), what);
        if (kind === 'decoder') assert.ok(one.values.every((weight, i) => i % T <= Math.floor(i / T) || weight === 0));
      }
    }
  });
});

test('a position has the weights of its window, and zeros outside it', async () => {
  for (const layer of ['0.0', '2.0', '3.0']) {
    const map = await attention(forced, 'window', layer);
    const dense = denseWindowAttention(map);
    const [H, W] = map.size;
    const w = map.window;
    const tile = (i: number) => `${Math.floor(Math.floor(i / W) / w)},${Math.floor((i % W) / w)}`;
    for (let query = 0; query < H * W; query++) {
      const [row, column] = [Math.floor(query / W), query % W];
      for (const head of [0, 1]) {
        const { values, shape, onPadding } = windowAttentionFrom(map, row, column, head);
        assert.equal(shape, [H, W]);
        values.forEach((weight, position) => {
          const what = `${layer}: ${row},${column} to ${position}`;
          assert.is(weight > 0, tile(position) === tile(query), what);
          assert.is(dense.values[(head * H * W + query) * H * W + position], weight, what);
        });
        assertRowsSumToOne(values, H * W, layer, Float32Array.of(onPadding));
      }
      const mean = windowAttentionFrom(map, row, column);
      assertRowsSumToOne(mean.values, H * W, layer, Float32Array.of(mean.onPadding));
    }
    const one = await attention(forced, 'window', layer, 1);
    assert.equal(windowAttentionFrom(one, 1, 2), windowAttentionFrom(map, 1, 2, 1));
    assert.equal(denseWindowAttention(one).shape, [H * W, H * W]);
  }
});

const close = (got: AttentionMap, want: AttentionMap, what: string) => {
  assert.equal(got.shape, want.shape, what);
  const { maxAbs } = difference(got.values, want.values);
  assert.ok(maxAbs < 2e-5, `${what}: ${maxAbs}`);
};

test('joined generation steps equal a single pass over the answer, with and without a cache, also from a file', async () => {
  await withoutLeaks(async () => {
    const options = {
      names: [...attentionPoints('encoder'), ...attentionPoints('decoder'), ...attentionPoints('cross')],
    };
    const runs = [
      await run({ ...greedy, ...options }),
      await run({ ...greedy, ...options, useCache: false }),
      await run({ ...greedy, ...options, file: join(folder, 'run.safetensors') }),
    ];
    for (const [i, { cache }] of runs.entries()) {
      const steps = cache.steps('language_model.decoder.layers.0.self_attn.hook_pattern');
      // The question appends </s> to an answer that was cut off at the limit.
      assert.ok(steps.length === T || steps.length === T - 1, `${steps.length} steps, ${T} positions`);
      for (const kind of ['encoder', 'decoder', 'cross'] as const) {
        const whole = await attention(forced, kind, 1, 2, { labels });
        const got = await attention(cache, kind, 1, 2, { labels });
        const [rows, columns] = [kind === 'encoder' ? S : steps.length, kind === 'decoder' ? steps.length : S];
        const want = whole.values.filter((_, at) => {
          const width = whole.shape[1];
          return at % width < columns && Math.floor(at / width) < rows;
        });
        close(got, { ...whole, values: want, shape: [rows, columns] }, `${kind}, run ${i}`);
        assert.equal(got.queries, whole.queries.slice(0, rows));
        assert.equal(got.keys, whole.keys.slice(0, columns));
        if (kind === 'encoder') continue;
        for (const step of [2, -1]) {
          const one = await attention(cache, kind, 1, undefined, { step, labels });
          const row = step < 0 ? steps.length - 1 : step;
          assert.equal(one.queries, [labels.said[row]]);
          const width = kind === 'decoder' ? row + 1 : S;
          assert.equal(one.shape, [text.decoderAttentionHeads, 1, width]);
          const from = one.values.slice(2 * width, 3 * width);
          assert.equal(from, got.values.slice(row * columns, row * columns + width), `${kind} at step ${step}`);
        }
      }
      cache.dispose();
    }
  });
});

test('rows are the beams of a step and cannot be joined', async () => {
  await withoutLeaks(async () => {
    const options = { ...free, numBeams: 3, names: [...attentionPoints('decoder'), ...attentionPoints('cross')] };
    const { cache } = await run(options);
    const { cache: uncached } = await run({ ...options, useCache: false });
    for (const kind of ['decoder', 'cross'] as const) {
      const seen = new Set<string>();
      for (let row = 0; row < 3; row++) {
        const one = await attention(cache, kind, 1, 0, { step: 3, row });
        assert.equal(one.shape, [1, kind === 'decoder' ? 4 : S]);
        assertRowsSumToOne(one.values, one.shape[1], kind);
        close(one, await attention(uncached, kind, 1, 0, { step: 3, row }), `${kind}, beam ${row}`);
        seen.add(one.values.join());
      }
      assert.is(seen.size, 3, `beams of ${kind} are different sequences`);
      const joined = await attention(cache, kind, 1).catch(error => error);
      assert.instance(joined, UsageError);
      assert.match(joined.message, /several sequences.*choose a step/);
      assert.match(
        (await attention(cache, kind, 1, 0, { step: 3, row: 3 }).catch(e => e)).message,
        /Row 3 does not exist at .*; rows are 0 to 2/,
      );
    }
    cache.dispose();
    uncached.dispose();
  });
});

test('labels name queries and keys, and overImage separates image, mean and prompt', async () => {
  assert.equal(labels.grid, [3, 3]);
  const cross = await attention(forced, 'cross', 0, undefined, { labels });
  assert.equal(cross.keys, question.positions);
  assert.equal(cross.queries, model.tokenizer.tokenTexts(question.answerIds));
  const decoder = await attention(forced, 'decoder', 0, undefined, { labels });
  assert.equal(decoder.queries, cross.queries);
  assert.equal(decoder.keys, ['</s>', ...cross.queries.slice(0, -1)]);
  assert.is(decoder.grid, undefined);
  const channel = await attention(forced, 'channel', '1.0', 2);
  assert.is(channel.keys[0], String((2 * vision.dimEmbed[1]) / vision.numGroups[1]));
  assert.equal((await attention(forced, 'cross', 0)).keys, [...Array(S).keys()].map(String));

  for (const head of [0, 3, undefined]) {
    const { image, grid, mean, prompt } = overImage(cross, 2, head);
    assert.equal(grid, [3, 3]);
    assert.is(image.length, 9);
    const total = [...image, mean, ...prompt.map(({ weight }) => weight)].reduce((a, b) => a + b);
    assert.ok(Math.abs(total - 1) < 1e-5);
    assert.equal(
      prompt.map(({ text }) => text),
      model.tokenizer.tokenTexts(question.promptIds),
    );
    if (head === undefined) continue;
    const row = cross.values.slice((head * T + 2) * S, (head * T + 3) * S);
    assert.equal([mean, ...image, ...prompt.map(({ weight }) => weight)], [...row]);
  }
});

test('reading what was not kept is an error with the reason', async () => {
  const bare = captureForced(model, question, attentionPoints('window', '0.0')[0]);
  const cross = await attention(forced, 'cross', 0, undefined, { labels });
  const window = await attention(forced, 'window', '0.0');
  const fewer = { ...labels, said: labels.said.slice(1) };
  for (const [read, message] of [
    [() => attention(bare, 'window', '0.0'), /size of the map was not kept.*attentionPoints\('window', '0\.0'\)/],
    [() => attention(bare, 'cross', 0), /encoder_attn\.hook_pattern was not kept/],
    [() => attention(forced, 'cross', 9), /layers\.9.* was not kept/],
    [() => attention(forced, 'cross', 0, 9), /Head 9 does not exist; heads are 0 to 3/],
    [() => attention(forced, 'cross', 0, 0, { step: 1 }), /outside generation/],
    [() => attention(forced, 'window', '0.0', 0, { row: 1 }), /Row 1 does not exist at .*; rows are 0 to 0/],
    [
      () => attention(forced, 'cross', 0, 0, { labels: { positions: ['mean'] } }),
      /name 1 positions, but the encoder had/,
    ],
    [() => attention(forced, 'decoder', 0, 0, { labels: fewer }), /labels name \d+ tokens, but the decoder had/],
    [async () => overImage({ ...cross, grid: undefined }, 0), /read the attention with labels/],
    [async () => overImage(cross, T), new RegExp(`Query ${T} does not exist; queries are 0 to ${T - 1}`)],
    [async () => overImage(cross, 0, 4), /Head 4 does not exist; heads are 0 to 3/],
    [
      async () => windowAttentionFrom(window, 24, 0),
      /Position 24, 0 does not exist; the map has rows 0 to 23 and columns 0 to 23/,
    ],
    [async () => windowAttentionFrom(window, 0, 0, 2), /Head 2 does not exist; heads are 0 to 1/],
    [
      async () => denseWindowAttention({ ...window, size: [192, 192] }),
      /read a single head, or single positions with windowAttentionFrom/,
    ],
  ] as [() => Promise<unknown>, RegExp][]) {
    const error = (await read().catch(error => error)) as Error;
    assert.instance(error, UsageError, String(message));
    assert.match(error.message, message);
  }
  bare.dispose();
});

test.run();
