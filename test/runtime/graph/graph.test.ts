/** Functions compiled to TensorFlow graphs: equal results, and what cannot be compiled. */
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as tf from '@tensorflow/tfjs';
import { test as anyTest } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../../src/errors.ts';
import { noHooks } from '../../../src/hooks/hooks.ts';
import { attend } from '../../../src/nn/attention.ts';
import { gelu, layerNorm, linear } from '../../../src/nn/ops.ts';
import { Graph, type GraphFunction } from '../../../src/runtime/graph/graph.ts';
import { HalfWeights } from '../../../src/runtime/graph/half_weights.ts';
import type { TensorSpec } from '../../../src/runtime/graph/nodes.ts';
import { kernelsSupported } from '../../../src/runtime/tensorflow.ts';
import { testBackend, withoutLeaks } from '../../backend.ts';

const test = testBackend === 'tensorflow' ? anyTest : anyTest.skip;

const floats = (...shape: number[]): TensorSpec => ({ shape, dtype: 'float32' });
const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
const compile = (fn: GraphFunction, example: (size: number) => TensorSpec[], weights: tf.Tensor[] = []) =>
  Graph.compile(fn, [example(2), example(3)], weights);

function assertNear(a: tf.Tensor, b: tf.Tensor, tolerance: number, what: string): void {
  assert.equal(a.shape, b.shape, what);
  const apart = tf.tidy(() => tf.max(tf.abs(tf.sub(a, b))).dataSync()[0]);
  assert.ok(apart <= tolerance, `${what}: differs by ${apart}`);
}

/** Checks that the graph and `fn` compute the same. */
function assertSame(graph: Graph, fn: GraphFunction, inputs: tf.Tensor[], tolerance: number, what: string): void {
  tf.tidy(() => {
    const made = graph.run(...inputs);
    fn(...inputs).forEach((want, i) => {
      assertNear(made[i], want, tolerance, what);
    });
  });
}

test('a block of matrix products, GELU and layer norm, for inputs of any length', async () => {
  const [w, b, v, scale, shift] = [
    random([24, 40], 1),
    random([40], 2),
    random([40, 24], 3),
    random([24], 4),
    random([24], 5),
  ];
  const fn: GraphFunction = x => {
    const rows = tf.reshape(x, [-1, 24]) as tf.Tensor2D;
    const hidden = gelu(linear(rows, w as tf.Tensor2D, b as tf.Tensor1D));
    const y = tf.reshape(linear(hidden, v as tf.Tensor2D, null), x.shape);
    return [layerNorm(tf.add(x, y), scale as tf.Tensor1D, shift as tf.Tensor1D, 1e-5), hidden];
  };
  const weights = [w, b, v, scale, shift];
  await withoutLeaks(async () => {
    const graph = compile(fn, size => [floats(size, 7, 24)], weights);
    for (const length of [1, 2, 9]) {
      const x = random([length, 7, 24], 6);
      assertSame(graph, fn, [x], 1e-5, `length ${length}`);
      x.dispose();
    }
    graph.dispose();
  });
  tf.dispose(weights);
});

test('several outputs, integers, gather, slice, padding and convolutions', () => {
  const [table, filter, depthwise] = [random([11, 6], 1), random([3, 3, 6, 4], 2), random([3, 3, 6, 1], 3)];
  const fn: GraphFunction = (ids, map) => {
    const rows = tf.gather(table, ids.as1D() as tf.Tensor1D);
    const [left, right] = tf.split(rows, [2, 4], 1);
    const padded = tf.pad(map, [[0, 0], [1, 1], [1, 1], [0, 0]]); // biome-ignore format: one line
    const convolved = tf.conv2d(padded as tf.Tensor4D, filter as tf.Tensor4D, 2, 'valid');
    const deep = tf.depthwiseConv2d(map as tf.Tensor4D, depthwise as tf.Tensor4D, 1, 'same');
    const part = tf.slice(deep, [0, 1, 0, 2], [-1, 2, -1, 3]);
    return [
      tf.softmax(left),
      tf.concat([right, rows], 1),
      convolved,
      tf.transpose(part, [0, 2, 1, 3]),
      tf.mean(part, [1, 2]),
    ];
  };
  const graph = compile(fn, size => [{ shape: [size], dtype: 'int32' }, floats(size, 8, 6, 6)], [
    table,
    filter,
    depthwise,
  ]);
  const [ids, map] = [tf.tensor1d([10, 0, 3, 3, 7], 'int32'), random([4, 8, 6, 6], 4)];
  assertSame(graph, fn, [ids, map], 1e-5, 'outputs');
  graph.dispose();
});

test('functions that cannot be compiled throw, and the backend keeps working', async () => {
  const stranger = random([4], 1);
  await withoutLeaks(async () => {
    assert.throws(
      () =>
        compile(
          x => [tf.add(x, stranger)],
          size => [floats(size, 4)],
        ),
      /\[4\] that is neither its input nor one of the given weights/,
    );
    assert.throws(
      () =>
        compile(
          x => [tf.cumsum(x)],
          size => [floats(size, 4)],
        ),
      /shape of TensorFlow's Cumsum is not supported/,
    );
    assert.throws(
      () =>
        compile(
          x => [tf.mul(x, x.shape[0])],
          size => [floats(size, 4)],
        ),
      /No graph can be compiled for inputs of any size: Const/,
    );
    assert.throws(
      () =>
        compile(
          x => [tf.tile(x, [x.shape[0], 1])],
          size => [floats(size, 4)],
        ),
      /No graph can be compiled/,
    );
    assert.equal(
      tf.tidy(() => Array.from(tf.add(stranger, stranger).shape)),
      [4],
    ); // eager execution works again
  });
  stranger.dispose();
});

test('a temporary folder that does not exist is named in the error', () => {
  const before = process.env.TMPDIR;
  process.env.TMPDIR = '/nowhere';
  try {
    assert.throws(
      () =>
        compile(
          x => [tf.add(x, 1)],
          size => [floats(size)],
        ),
      /temporary folder \/nowhere \(set TMPDIR for another\): ENOENT/,
    );
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
});

test('compiling leaves no temporary files', () => {
  const graphs = () => readdirSync(tmpdir()).filter(name => name.startsWith('florence2-graph-'));
  const before = graphs();
  compile(
    x => [tf.add(x, 1)],
    size => [floats(size)],
  ).dispose();
  assert.equal(
    graphs().filter(name => !before.includes(name)),
    [],
  );
});

/** Rounds to 8 bits of mantissa, ties to even. */
function toBf16(x: number): number {
  const bits = new Uint32Array(new Float32Array([x]).buffer);
  bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0];
}

test('bf16 rounds the inputs of matrix products but not their sums', () => {
  const [x, w, b] = [random([3, 40], 1), random([40, 24], 2), random([24], 3)] as [
    tf.Tensor2D,
    tf.Tensor2D,
    tf.Tensor1D,
  ];
  const fn: GraphFunction = x => [linear(x as tf.Tensor2D, w, b)];
  const graph = Graph.compile(fn, [[floats(2, 40)], [floats(3, 40)]], [w, b], { bf16: true });
  const made = graph.run(x)[0].arraySync() as number[][];
  const [rows, weights, biases] = [x.arraySync(), w.arraySync(), b.arraySync()];
  rows.forEach((row, i) => {
    biases.forEach((bias, j) => {
      const sum = row.reduce((sum, value, k) => sum + toBf16(value) * toBf16(weights[k][j]), toBf16(bias));
      const tolerance = 2 ** -8 * Math.max(1, Math.abs(sum)); // the result is rounded too
      assert.ok(Math.abs(made[i][j] - sum) <= tolerance, `${made[i][j]} instead of ${sum}`);
    });
  });
  graph.dispose();
});

// The kernels for few rows against TensorFlow's own.
const few = testBackend === 'tensorflow' && kernelsSupported() ? anyTest : anyTest.skip;

/** Random numbers that fp16 represents exactly. */
const halves = (shape: number[], seed: number) => tf.tidy(() => tf.div(tf.round(tf.mul(random(shape, seed), 64)), 64));

function compileFew(fn: GraphFunction, example: (size: number) => TensorSpec[], weights: tf.Tensor[]) {
  const halfWeights = new HalfWeights();
  const graph = Graph.compile(fn, [example(2), example(3)], weights, { halfWeights });
  return { graph, dispose: () => [graph, halfWeights].forEach(each => void each.dispose()) };
}

few('matrix products of few rows, with fp16 and fp32 weights of any size', () => {
  for (const [K, N] of [
    [64, 128],
    [70, 37],
    [768, 5],
    [3, 1],
    [200, 333],
  ]) {
    // biome-ignore format: one line
    for (const weightOf of [halves, random]) {
      const [w, t, b] = [weightOf([K, N], 1), weightOf([N, K], 2), random([N], 3)];
      const fn: GraphFunction = x => {
        const product = linear(x as tf.Tensor2D, w as tf.Tensor2D, b as tf.Tensor1D);
        return [gelu(product), tf.matMul(x as tf.Tensor2D, t as tf.Tensor2D, false, true), tf.matMul(x, w)];
      };
      const { graph, dispose } = compileFew(fn, size => [floats(size, K)], [w, t, b]);
      for (const rows of [1, 2, 3, 4, 5, 6, 7, 8, 11, 16]) {
        const x = random([rows, K], rows);
        assertSame(graph, fn, [x], 3e-6 * K, `${rows} rows, [${K}, ${N}], ${weightOf.name}`);
        x.dispose();
      }
      dispose();
      tf.dispose([w, t, b]);
    }
  }
});

few('only weights that fp16 represents exactly are copied', async () => {
  await withoutLeaks(async () => {
    const halfWeights = new HalfWeights();
    const exact = tf.tensor2d([1, -0.5, 65504, 2 ** -24, 0, 3.140625], [2, 3]);
    const others = [[1 / 3, 1], [65520, 1], [2 ** -25, 1]].map(row => tf.tensor2d([row])); // biome-ignore format: one line
    assert.is.not(halfWeights.of(exact, true), undefined);
    assert.is(halfWeights.of(exact, true), halfWeights.of(exact, true));
    for (const weight of others) assert.is(halfWeights.of(weight, true), undefined);
    halfWeights.dispose();
    tf.dispose([exact, others]);
  });
});

few('subnormal and large fp16 values are read correctly', () => {
  const values = [2 ** -24, -3 * 2 ** -24, 2 ** -14, 65504, -65504, 1023 * 2 ** -24];
  const weight = tf.tensor2d([...values, ...Array.from({ length: 58 }, (_, i) => values[i % 6])], [1, 64]);
  const { graph, dispose } = compileFew(
    x => [tf.matMul(x, weight, false, true)],
    size => [floats(size, 64)],
    [weight],
  );
  const one = tf.oneHot(tf.range(0, 64, 1, 'int32'), 64).toFloat();
  const [made] = graph.run(tf.slice(one, [0, 0], [6, 64]));
  assert.equal(Array.from(made.dataSync()), values);
  dispose();
});

few('attention of few queries, with and without a mask, with keys in one tensor and in two', () => {
  for (const [B, H, T, S, d] of [
    [1, 4, 1, 33, 16],
    [2, 3, 3, 20, 10],
    [3, 2, 1, 3, 64],
  ]) {
    const [q, k, v] = [random([B, H, T, d], 4), random([B, H, S, d], 1), random([B, H, S, d], 2)] as tf.Tensor4D[];
    const mask = tf.tidy(() =>
      tf.mul(tf.cast(tf.greater(random([B, 1, 1, S], 3), 0.5), 'float32'), -1e9),
    ) as tf.Tensor4D;
    for (const masked of [false, true]) {
      for (const [parts, kept] of [
        [[S], false],
        [[S - 2, 2], false],
        [[0, S], false],
        [[1, S - 1], true],
      ] as const) {
        // biome-ignore format: one line
        const what = `[${[B, H, T, S, d]}]${masked ? ' masked' : ''}, parts [${parts}]${kept ? ', keys returned too' : ''}`;
        const plain = (q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, mask?: tf.Tensor4D) => {
          const scores = tf.matMul(tf.mul(q, d ** -0.5), k, false, true);
          return tf.matMul(tf.softmax(mask ? tf.add(scores, mask) : scores), v);
        };
        const joined = (some: tf.Tensor[]) => (some.length === 1 ? some[0] : tf.concat(some, 2)) as tf.Tensor4D;
        const fn: GraphFunction = (q, ...rest) => {
          const [keys, values] = [
            joined(rest.slice(0, parts.length)),
            joined(rest.slice(parts.length, 2 * parts.length)),
          ];
          const hidden = (rest[2 * parts.length] ?? null) as tf.Tensor4D | null;
          return [attend(q as tf.Tensor4D, keys, values, hidden, noHooks), ...(kept ? [keys] : [])];
        };
        const example = (size: number) => [
          floats(size, H, T, d),
          ...[1, 2].flatMap(() => parts.map((_, i) => floats(size, H, size + 5 + 7 * i, d))),
          ...(masked
            ? [
                floats(
                  size,
                  1,
                  1,
                  parts.reduce((sum, _, i) => sum + size + 5 + 7 * i, 0),
                ),
              ]
            : []),
        ];
        const { graph, dispose } = compileFew(fn, example, []);
        tf.tidy(() => {
          const cut = (x: tf.Tensor4D) => tf.split(x, [...parts], 2);
          const [z, keys] = graph.run(q, ...cut(k), ...cut(v), ...(masked ? [mask] : []));
          assertNear(z, plain(q, k, v, masked ? mask : undefined), 1e-5, what);
          if (kept) assertNear(keys, k, 0, what);
        });
        dispose();
      }
    }
    tf.dispose([q, k, v, mask]);
  }
});

// Graphs with half weights become one Florence2Program, unless it lacks an instruction for one of their operations.
for (const [what, end] of [
  ['one Florence2Program', (x: tf.Tensor) => x],
  ['an operation that Florence2Program lacks', (x: tf.Tensor) => tf.neg(x)],
] as const) {
  few(`a decode step of embeddings, layer norm, heads and a growing cache: ${what}`, async () => {
    await withoutLeaks(async () => {
      const [table, place, scale, shift, w] = [
        random([50, 24], 1),
        random([1, 24], 2),
        random([24], 3) as tf.Tensor1D,
        random([24], 4) as tf.Tensor1D,
        random([24, 24], 5) as tf.Tensor2D,
      ];
      const fn: GraphFunction = (ids, past) =>
        tf.tidy(() => {
          const [rows] = ids.shape;
          const embeds = tf.add(tf.gather(table, ids as tf.Tensor2D), place) as tf.Tensor3D; // [rows, 1, 24]
          const normal = layerNorm(embeds, scale, shift, 1e-3);
          const product = tf.reshape(tf.matMul(tf.reshape(normal, [-1, 24]), w), [rows, 1, 24]);
          const heads = tf.transpose(tf.reshape(tf.add(embeds, product), [rows, 1, 4, 6]), [0, 2, 1, 3]); // [rows, 4, 1, 6]
          const present = tf.concat([past as tf.Tensor4D, heads as tf.Tensor4D], 2); // [rows, 4, T + 1, 6]
          const turned = tf.reshape(tf.transpose(present, [0, 2, 1, 3]), [-1, 24]); // [rows · (T + 1), 24]
          return [present, end(turned), tf.reshape(past, [-1, 6])];
        });
      const example = (size: number): TensorSpec[] => [
        { shape: [size, 1], dtype: 'int32' },
        floats(size, 4, size + 3, 6),
      ];
      const { graph, dispose } = compileFew(fn, example, [table, place, scale, shift, w]);
      for (const [rows, T] of [
        [1, 0],
        [3, 7],
        [8, 1],
      ]) {
        // biome-ignore format: one line
        const ids = tf.tensor2d(Array.from({ length: rows }, (_, i) => (7 * i) % 50), [rows, 1], 'int32');
        const past = random([rows, 4, T, 6], 9);
        assertSame(graph, fn, [ids, past], 1e-5, `${rows} rows, ${T} in the cache`);
        tf.dispose([ids, past]);
      }
      const beyond = tf.tensor2d([50], [1, 1], 'int32');
      const past = random([1, 4, 1, 6], 9);
      assert.throws(() => graph.run(beyond, past), /beyond the table|not in \[0, 50\)/);
      tf.dispose([beyond, past]);
      dispose();
      tf.dispose([table, place, scale, shift, w]);
    });
  });
}

few('constants as inputs and outputs of graphs with half weights', () => {
  const w = random([24, 24], 1) as tf.Tensor2D;
  const numbers = () => tf.tensor1d(Array.from({ length: 24 }, (_, i) => i));
  const fns: GraphFunction[] = [
    x => [linear(x as tf.Tensor2D, w, numbers())],
    x => [layerNorm(x, numbers(), numbers(), 1e-3)],
    x => [tf.add(numbers(), x)],
    x => [tf.matMul(x, w), numbers()],
  ];
  for (const fn of fns) {
    const { graph, dispose } = compileFew(fn, size => [floats(size, 24)], [w]);
    assertSame(graph, fn, [random([3, 24], 2)], 1e-4, String(fn));
    dispose();
  }
});

test('inputs of another number, size or dtype are refused', () => {
  const fn: GraphFunction = (x, y) => [tf.add(x, y)];
  const graph = compile(fn, size => [floats(size, 4), floats(4)]);
  const [x, y, wide, whole] = [tf.ones([5, 4]), tf.ones([4]), tf.ones([5, 5]), tf.ones([5, 4], 'int32')];
  tf.dispose(graph.run(x, y));
  for (const [inputs, message] of [
    [[x], 'The graph takes 2 inputs, not 1.'],
    [[wide, y], 'Input 0 of the graph must be float32 [any, 4], not float32 [5, 5].'],
    [[y, y], 'Input 0 of the graph must be float32 [any, 4], not float32 [4].'],
    [[whole, y], 'Input 0 of the graph must be float32 [any, 4], not int32 [5, 4].'],
  ] as const) {
    assert.throws(
      () => graph.run(...inputs),
      (error: Error) => error instanceof UsageError && error.message === message,
    );
  }
  graph.dispose();
  tf.dispose([x, y, wide, whole]);
});

anyTest.run();
