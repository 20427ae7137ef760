import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { vectorJacobian, withGradient } from '../../src/nn/tape.ts';
import { withoutLeaks } from '../backend.ts';

type Inputs = { a: tf.Tensor2D; b: tf.Tensor2D };
const cases: [what: string, y: (inputs: Inputs) => tf.Tensor][] = [
  ['a chain', ({ a, b }) => tf.exp(tf.matMul(tf.tanh(a), b))],
  ['a tensor used several times', ({ a, b }) => tf.add(tf.mul(a, a), tf.mul(a, tf.sub(a, b)))],
  ['some of the outputs of an operation', ({ a, b }) => tf.mul(tf.unstack(a)[1], tf.sum(b, 0))],
  [
    'scopes within scopes',
    ({ a, b }) => tf.tidy(() => tf.square(tf.tidy(() => tf.matMul(a, tf.sigmoid(b), false, true)))),
  ],
  ['an input itself', ({ a }) => a],
  ['no input', () => tf.square(tf.tensor2d([[1, 2], [3, 4]]))], // biome-ignore format: one line
];
for (const [what, y] of cases) {
  test(`${what}: gradients equal those of tf.grads`, () =>
    withoutLeaks(async () => {
      const inputs = { a: tf.tensor2d([0.5, -1, 2, 0.25], [2, 2]), b: tf.tensor2d([1, -0.5, 0.75, 1.5], [2, 2]) };
      const xs = [inputs.a, inputs.b];
      const dy = tf.tidy(() => tf.add(tf.range(0, y(inputs).size).reshape(y(inputs).shape), 1));
      const got = vectorJacobian(() => y(inputs), xs, dy);
      const want = tf.engine().gradients(() => y(inputs).clone(), xs, dy, true);
      for (const [i, name] of ['a', 'b'].entries()) {
        assert.is(got[i] === null, !want.grads[i], `whether y depends on ${name}`);
        if (!got[i]) continue;
        const [mine, tfjs] = [await download(got[i]), await download(want.grads[i])];
        assert.ok(difference(mine.values, tfjs.values).maxAbs < 1e-5, `the gradient of ${name}`);
      }
      tf.dispose([...xs, dy, want.value]);
    }));
}

/** Returns x · w; records whose gradients are computed. */
function product(x: tf.Tensor, w: tf.Tensor, computed: string[], saved: tf.Tensor[] = []): tf.Tensor {
  const noted = (name: string, gradient: tf.Tensor): tf.Tensor => {
    computed.push(name);
    return gradient;
  };
  return withGradient(
    { x, w },
    save => {
      save([x, w]);
      return tf.mul(x, w);
    },
    (dy, [x, w]) => {
      saved.push(x, w);
      return { x: () => noted('x', tf.mul(dy, w)), w: () => noted('w', tf.mul(dy, x)) };
    },
  );
}

test('only requested gradients are computed', () =>
  withoutLeaks(() => {
    const [x, w, dy] = [tf.tensor1d([1, 2]), tf.tensor1d([3, 4]), tf.tensor1d([1, 1])];
    for (const asked of [['x'], ['w'], ['x', 'w']]) {
      const computed: string[] = [];
      const xs = asked.map(name => (name === 'x' ? x : w));
      tf.dispose(vectorJacobian(() => product(x, w, computed), xs, dy) as tf.Tensor[]);
      assert.equal(computed, asked);
    }
    tf.dispose([x, w, dy]);
  }));

test('saved tensors are disposed before the gradients of earlier operations are computed', () =>
  withoutLeaks(() => {
    const [x, dy] = [tf.tensor1d([1, 2]), tf.tensor1d([1, 1])];
    const saved: tf.Tensor[] = [];
    const first = (x: tf.Tensor) =>
      withGradient(
        { x },
        () => tf.mul(x, 2),
        dy => ({
          x: () => {
            assert.equal(saved.map(({ isDisposed }) => isDisposed), [true, true]); // biome-ignore format: one line
            return tf.mul(dy, 2);
          },
        }),
      );
    tf.dispose(vectorJacobian(() => { const y = first(x); return product(y, y, [], saved); }, [x], dy) as tf.Tensor[]); // biome-ignore format: one line
    assert.is(saved.length, 2);
    tf.dispose([x, dy]);
  }));

test('inputs needed only for their shapes are not kept', () =>
  withoutLeaks(() => {
    const [x, dy] = [tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor1d([1, 1, 1, 1])];
    const bias = tf.tensor1d([1, 2]);
    const held: number[] = [];
    const last = (y: tf.Tensor) => {
      held.push(tf.memory().numTensors);
      return y.clone();
    };
    const pass = () => last(tf.tidy(() => tf.reshape(tf.add(tf.add(tf.neg(x), bias), x), [4])));
    tf.dispose(tf.tidy(pass));
    const [gradient] = vectorJacobian(pass, [x], dy);
    assert.is(held[1], held[0], 'as many tensors as without gradients');
    tf.dispose([x, dy, bias, gradient!]);
  }));

test('errors of the forward and the backward pass leak no tensors', () =>
  withoutLeaks(() => {
    const [x, dy] = [tf.tensor1d([1, 2]), tf.tensor1d([1, 1])];
    const fails = (): never => {
      throw new Error('on purpose');
    };
    const scoped = (y: () => tf.Tensor) => tf.tidy(() => vectorJacobian(y, [x], dy) as tf.Tensor[]);
    const forward = () => scoped(() => tf.add(tf.mul(x, x), fails()));
    const backward = () => scoped(() => withGradient({ x: tf.square(x) }, () => x.clone(), fails));
    assert.throws(forward, /on purpose/);
    assert.throws(backward, /on purpose/);
    tf.dispose([x, dy]);
  }));

test.run();
