import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { CachedSession, UncachedSession } from '../../src/generation/session.ts';
import { HookRegistry, noHooks } from '../../src/hooks/hooks.ts';
import { type KeyValue, LayerCache } from '../../src/language/cache.ts';
import { forcedLogits } from '../../src/parity/subject.ts';
import { withoutLeaks } from '../backend.ts';
import { languageDumps } from '../dumps.ts';
import { encodeInputs, openSubject } from '../internals/subject.ts';

const subject = await openSubject();
const { model, inputs } = subject;
const LOGITS = 8e-5; // two fp32 computations of the same logits

/** Returns keys and values of some rows and T tokens. Each number identifies its row and token: 10 · row + token. */
function tokens(rows: number[], from: number, T: number): KeyValue {
  const of = (sign: number) => {
    const values = rows.flatMap(row => Array.from({ length: T }, (_, t) => sign * (10 * row + from + t)));
    return tf.tensor4d(values, [rows.length, 1, T, 1]);
  };
  return { key: of(1), value: of(-1) };
}

/** Returns the keys of each row as a list, and checks that the values match. */
async function contents({ key, value }: KeyValue): Promise<number[][]> {
  const [keys, values] = [await key.data(), await value.data()];
  const [rows, , T] = key.shape;
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: T }, (_, t) => {
      assert.is(values[row * T + t], -keys[row * T + t] || 0, 'the value matches its key');
      return keys[row * T + t];
    }),
  );
}

test('a cache grows, moves its rows and drops items', async () => {
  await withoutLeaks(async () => {
    const cache = new LayerCache(tokens([0, 1], 1, 2));
    assert.is(cache.length, 0);
    assert.is(cache.parts.recent, null);
    const append = (rows: number[], from: number, T: number) => {
      const added = tokens(rows, from, T);
      const all = cache.append(added);
      tf.dispose([added.key, added.value]); // the cache has a copy
      return all;
    };
    const move = (...rows: number[]) => {
      const index = tf.tensor1d(rows, 'int32');
      cache.reorder(index);
      index.dispose();
    };
    append([0, 1, 2, 3], 1, 2);
    assert.equal(await contents(append([0, 1, 2, 3], 3, 1)), [[1, 2, 3], [11, 12, 13], [21, 22, 23], [31, 32, 33]]); // biome-ignore format: one line
    assert.is(cache.length, 3);

    move(1, 1, 3, 2); // row 0 becomes the previous row 1, …
    assert.equal(await contents(cache.parts.recent!), [[11, 12, 13], [11, 12, 13], [31, 32, 33], [21, 22, 23]]); // biome-ignore format: one line
    move(2, 3); // drops the first item, which has two rows
    const items = tf.tensor1d([1], 'int32');
    cache.keepCross(items);
    items.dispose();
    assert.equal(await contents(cache.parts.recent!), [[31, 32, 33], [21, 22, 23]]); // biome-ignore format: one line
    assert.equal(await contents(cache.cross), [[11, 12]]);
    assert.equal(await contents(append([8, 9], 4, 1)), [[31, 32, 33, 84], [21, 22, 23, 94]]); // biome-ignore format: one line
    cache.dispose();
  });
});

test('a sealed cache keeps the same tokens in two parts', async () => {
  await withoutLeaks(async () => {
    const cache = new LayerCache(tokens([0], 1, 1));
    cache.seal();
    assert.is(cache.length, 0);
    assert.throws(() => cache.all(), /no tokens yet/);
    tf.tidy(() => {
      cache.append(tokens([0, 1], 1, 2));
      cache.seal();
      cache.append(tokens([0, 1], 3, 1));
    });
    assert.equal(await contents(cache.parts.sealed!), [[1, 2], [11, 12]]); // biome-ignore format: one line
    assert.equal(await contents(cache.parts.recent!), [[3], [13]]);
    tf.tidy(() => cache.reorder(tf.tensor1d([1, 0], 'int32')));
    assert.is(cache.length, 3);
    const added = tokens([0, 1], 4, 1);
    const appended = cache.append(added);
    const rows = [[11, 12, 13, 4], [1, 2, 3, 14]]; // biome-ignore format: one line
    assert.equal(await contents(appended), rows);
    cache.seal();
    assert.is(cache.parts.recent, null);
    const all = cache.all();
    assert.equal(await contents(all), rows);
    tf.dispose([added, appended, all].flatMap(({ key, value }) => [key, value]));
    cache.dispose();
  });
});

test('a cache outlives the tidy in which it grew', async () => {
  await withoutLeaks(async () => {
    const cache = new LayerCache(tokens([0], 1, 1));
    tf.tidy(() => void cache.append(tokens([0], 1, 2)));
    tf.tidy(() => cache.reorder(tf.tensor1d([0, 0], 'int32')));
    assert.equal(await contents(cache.parts.recent!), [[1, 2], [1, 2]]); // biome-ignore format: one line
    cache.dispose();
  });
});

test('the decoder returns the same logits token by token, in pieces and at once', async () => {
  const at = await download(await forcedLogits(subject, await encodeInputs(subject, true))); // [B, 9, V]
  const [B, T, V] = at.shape;
  const ids = await inputs.readInt32('decoder_input_ids');
  for (const pieces of [[1, 1, 1, 1, 1, 1, 1, 1, 1], [9], [4, 1, 3, 1]]) {
    await withoutLeaks(async () => {
      const memory = await encodeInputs(subject, true);
      const caches = model.languageModel.decoder.newCaches(memory.states, noHooks);
      let from = 0;
      for (const count of pieces) {
        const logits = await download(
          tf.tidy(() => {
            const piece = tf.slice(tf.tensor2d(ids, [B, T], 'int32'), [0, from], [B, count]);
            const hidden = model.languageModel.decoder.forward(
              model.languageModel.embedAnswer(piece),
              memory,
              caches,
              noHooks,
            );
            return model.lmHead.forward(hidden, noHooks);
          }),
        );
        for (let b = 0; b < B; b++) {
          const want = at.values.subarray((b * T + from) * V, (b * T + from + count) * V);
          const { maxAbs } = difference(logits.values.subarray(b * count * V, (b + 1) * count * V), want);
          assert.ok(maxAbs <= LOGITS, `pieces of ${pieces}: tokens from ${from} of row ${b} differ by ${maxAbs}`);
        }
        from += count;
      }
      for (const cache of caches) cache.dispose();
      tf.dispose([memory.states, memory.mask ?? []]);
    });
  }
});

for (const dump of languageDumps) {
  const { encoder, decoder } = dump.model.languageModel;
  for (const [i, { selfAttn }] of decoder.layers.entries()) {
    if (!dump.has(`layer${i}.cross.key`)) continue;
    const states = `encoder.layer${encoder.layers.length - 1}.out`;
    const input = i === 0 ? 'decoder.embed' : `decoder.layer${i - 1}.out`;

    test(`${dump.name}: the cache of layer ${i} equals PyTorch's after each step`, async () => {
      for (const part of ['key', 'value'] as const) {
        await dump.compare(`layer${i}.cross.${part}`, [states], (states: tf.Tensor3D) => {
          return decoder.memoryKeys(states, noHooks)[i][part];
        });
        for (let step = 0; dump.has(`step${step}.layer${i}.self.${part}`); step++) {
          await dump.compare(
            `step${step}.layer${i}.self.${part}`,
            [input, states],
            (x: tf.Tensor3D, states: tf.Tensor3D) => {
              const cache = new LayerCache(selfAttn.keyValue(states, noHooks));
              const tokens = (tf.split(x, x.shape[1], 1) as tf.Tensor3D[]).slice(0, step + 1); // [B, 1, D] each
              for (const token of tokens) cache.append(selfAttn.keyValue(token, noHooks));
              const kept = cache.all()[part];
              cache.dispose();
              return kept;
            },
          );
        }
      }
    });
  }
}

/** The steps of a beam search: the tokens fed to the decoder, then the index of `reorder`. */
const moves: [tokens: number[], next: number[]][] = [
  [
    [2, 2, 2, 2, 2, 2],
    [0, 0, 0, 3, 3, 3],
  ],
  [
    [5, 9, 100, 7, 8, 200],
    [1, 0, 2, 5, 4, 3],
  ],
  [
    [11, 12, 13, 14, 15, 16],
    [2, 2, 0, 4, 3, 4],
  ],
  [
    [21, 22, 23, 24, 25, 26],
    [4, 3, 5],
  ], // drops the first item
  [
    [31, 32, 33],
    [0, 0, 1],
  ],
  [
    [41, 42, 43],
    [2, 1, 0],
  ],
];

test('a cached session returns the same logits as an uncached one while beams move', async () => {
  await withoutLeaks(async () => {
    const memory = await encodeInputs(subject, true); // 2 items
    const hooks = new HookRegistry();
    const cached = new CachedSession(model, memory, 3, hooks);
    const plain = new UncachedSession(model, memory, 3, hooks);
    tf.dispose([memory.states, memory.mask ?? []]); // the sessions have copies
    for (const [step, [fed, next]] of moves.entries()) {
      const [a, b] = [cached, plain].map(session => session.step(Int32Array.from(fed)));
      assert.equal(a.shape, [fed.length, model.config.text.vocabSize]);
      const { maxAbs } = difference((await download(a)).values, (await download(b)).values);
      assert.ok(maxAbs <= LOGITS, `step ${step}: logits differ by ${maxAbs}`);
      for (const session of [cached, plain]) session.reorder(Int32Array.from(next));
      assert.equal([cached.rows, plain.rows], [next.length, next.length]);
    }
    cached.dispose();
    plain.dispose();
  });
});

test('the beams of an image are independent', async () => {
  await withoutLeaks(async () => {
    const memory = await encodeInputs(subject, true);
    const hooks = new HookRegistry();
    const session = new CachedSession(model, memory, 2, hooks);
    const alone = new CachedSession(model, memory, 1, hooks);
    tf.dispose([memory.states, memory.mask ?? []]);
    session.step(Int32Array.of(2, 2, 2, 2)).dispose();
    alone.step(Int32Array.of(2, 2)).dispose();
    const both = await download(session.step(Int32Array.of(5, 700, 9, 800)));
    const one = await download(alone.step(Int32Array.of(700, 9)));
    const V = model.config.text.vocabSize;
    for (const [row, same] of [
      [0, 1],
      [1, 2],
    ]) {
      // biome-ignore format: one line
      const { maxAbs } = difference(both.values.subarray(same * V, (same + 1) * V), one.values.subarray(row * V, (row + 1) * V)); // biome-ignore format: one line
      assert.ok(maxAbs <= LOGITS, `row ${same} differs by ${maxAbs}`);
    }
    session.dispose();
    alone.dispose();
  });
});

test.run();
