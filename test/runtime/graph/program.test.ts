/** Programs of the compiled kernels that do not fit their inputs: an error, and no access outside of the inputs. */
import * as tf from '@tensorflow/tfjs';
import { test as anyTest } from 'uvu';
import * as assert from 'uvu/assert';
import { kernelsSupported, ownKernels } from '../../../src/runtime/tensorflow.ts';
import type { NodeBackend } from '../../../src/runtime/tensorflow_binding.ts';
import { testBackend } from '../../backend.ts';

const test = testBackend === 'tensorflow' && kernelsSupported() ? anyTest : anyTest.skip;

/** Runs a program on fp32 inputs, then int32 ones, and returns its results. */
function run(code: number[], values: number[], floats: tf.Tensor[], integers: tf.Tensor[], count: number): number[][] {
  const backend = tf.backend() as unknown as NodeBackend;
  const program = ownKernels().addProgram(Int32Array.from(code), Int32Array.from(values));
  const settings = { n_floats: floats.length, n_halves: 0, n_integers: integers.length, count, program };
  const attributes = Object.entries(settings).map(([name, value]) => {
    return { name, type: backend.binding.TF_ATTR_INT as number, value };
  });
  const ids = backend.getInputTensorIds([...floats, ...integers]);
  try {
    return tf.tidy(() =>
      backend.binding
        .executeOp('Florence2Program', attributes, ids, count)
        .map(output => Array.from(backend.createOutputTensor(output).dataSync())),
    );
  } finally {
    ownKernels().removeProgram(program);
  }
}

const EPSILON = 925353388; // the bits of 1e-5
const SCALE = 1065353216; // the bits of 1

/** The inputs by number: x, matrix, vector, a value of four axes, ids. */
const [X, MATRIX, VECTOR, HEADS, IDS] = [0, 1, 2, 3, 4];

/** Programs whose last instruction creates value 5, with the error that is expected. */
const broken: [what: string, code: number[], error: RegExp][] = [
  ['an unknown instruction', [8], /unknown instruction/],
  ['a value that does not exist', [2, X, 5], /reads an unknown value/],
  ['a negative value', [2, X, -2], /reads an unknown value/],
  ['no bias where one is needed', [3, X, VECTOR, -1, EPSILON], /reads an unknown value/],
  ['code that ends', [2, X], /ends within an instruction/],
  ['a list that ends', [4, X, 3, 2], /longer than the program/],
  ['a list of negative length', [4, X, -5, 2], /longer than the program/],
  ['integers as numbers', [2, X, IDS], /another type/],
  ['numbers as ids', [6, MATRIX, X], /another type/],
  ['a bias of another length', [0, X, MATRIX, X, 0, 0], /do not fit each other/],
  ['a weight of another shape', [0, X, X, -1, 0, 0], /do not fit each other/],
  ['a weight with one axis', [0, X, VECTOR, -1, 0, 0], /weight two/],
  ['a norm of another length', [3, X, X, VECTOR, EPSILON], /do not fit x/],
  ['a norm with a longer bias', [3, X, VECTOR, MATRIX, EPSILON], /do not fit x/],
  ['a sum of other sizes', [2, X, MATRIX], /do not fit each other/],
  ['a larger shape', [4, X, 2, 100, 100], /does not fit its new shape/],
  ['a shape beyond all numbers', [4, X, 5, 65536, 65536, 65536, 65536, 0], /does not fit its new shape/],
  ['a shape with two free sides', [4, X, 2, -1, -1], /does not fit its new shape/],
  ['a shape with a side of 0', [4, X, 2, 0, -1], /does not fit its new shape/],
  ['an axis beyond the rank', [5, X, X, 2], /no such axis/],
  ['a negative axis', [5, X, X, -1], /no such axis/],
  ['parts of other ranks', [5, X, VECTOR, 0], /no such axis/],
  ['parts of other sides', [5, X, MATRIX, 1], /parts do not fit/],
  ['a table with one axis', [6, VECTOR, IDS], /two axes/],
  ['an id beyond the table', [6, X, IDS], /beyond the table/],
  ['axes that repeat', [7, HEADS, 4, 0, 0, 1, 3], /cannot be transposed/],
  ['axes beyond the rank', [7, HEADS, 4, 0, 1, 4, 3], /cannot be transposed/],
  ['a transposed last axis', [7, HEADS, 4, 0, 1, 3, 2], /cannot be transposed/],
  ['two axes to transpose', [7, X, 4, 0, 2, 1, 3], /cannot be transposed/],
  ['a query with two axes', [1, X, HEADS, -1, HEADS, -1, -1, SCALE], /four axes/],
  ['keys with two axes', [1, HEADS, X, -1, HEADS, -1, -1, SCALE], /four axes/],
  ['a part of the keys with two axes', [1, HEADS, HEADS, X, HEADS, X, -1, SCALE], /four axes/],
  ['a mask of another shape', [1, HEADS, HEADS, -1, HEADS, -1, X, SCALE], /mask does not fit/],
];

test('a program that does not fit its inputs is an error', () => {
  const floats = [tf.ones([2, 3]), tf.ones([3, 3]), tf.ones([3]), tf.ones([1, 2, 2, 3])];
  const integers = [tf.tensor1d([2, 0], 'int32')];
  for (const [what, code, error] of broken) {
    assert.throws(() => run(code, [5], floats, integers, 1), error, what);
  }
  const sum = [2, X, VECTOR];
  assert.throws(() => run(sum, [6], floats, integers, 1), /reads an unknown value/, 'a result that does not exist');
  assert.throws(() => run(sum, [IDS], floats, integers, 1), /another type/, 'integers as a result');
  assert.throws(() => run(sum, [5], floats, integers, 2), /number of results/, 'too few results');
  assert.throws(() => run(sum, [5, 5], floats, integers, 1), /number of results/, 'too many results');
  tf.dispose([...floats, ...integers]);
});

test('a program that fits returns its results, also one of them twice', () => {
  const floats = [tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]), tf.ones([3, 3]), tf.tensor1d([10, 20, 30]), tf.ones([1])];
  const integers = [tf.tensor1d([1, 0, 1], 'int32')];
  const code = [...[2, X, VECTOR], ...[6, 5, IDS], ...[0, X, MATRIX, VECTOR, 0, 0], ...[4, 7, 2, -1, 2]];
  assert.equal(run(code, [6, 8, 6], floats, integers, 3), [
    [14, 25, 36, 11, 22, 33, 14, 25, 36],
    [16, 26, 36, 25, 35, 45],
    [14, 25, 36, 11, 22, 33, 14, 25, 36],
  ]);
  tf.dispose([...floats, ...integers]);
});

anyTest.run();
