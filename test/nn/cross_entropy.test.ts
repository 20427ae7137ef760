import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference } from '../../src/activations/activation.ts';
import { answerLosses } from '../../src/nn/cross_entropy.ts';
import { vectorJacobian } from '../../src/nn/tape.ts';
import '../backend.ts';
import { withoutLeaks } from '../backend.ts';

// PyTorch 2.15:
//   logits = torch.tensor([[[2, -1, .5, 0], [.1, .2, .3, .4]], [[-3, 4, 1, 2], [1.5, -.5, 0, 9]]], requires_grad=True)
//   labels = torch.tensor([[0, 3], [1, -100]])
//   for s in (0, .1):
//     loss = F.cross_entropy(logits.view(-1, 4), labels.view(-1), label_smoothing=s, reduction='none')
//     logits.grad = None; loss.sum().div(3).backward(); print(loss, logits.grad)
const logits = [
  [
    [2, -1, 0.5, 0],
    [0.1, 0.2, 0.3, 0.4],
  ],
  [
    [-3, 4, 1, 2],
    [1.5, -0.5, 0, 9],
  ],
];
const cases = [
  {
    smoothing: 0,
    losses: [0.342349648475647, 1.2425355911254883, 0.17061513662338257, 0],
    gradient: [
      ...[-0.09663337469100952, 0.011784598231315613, 0.05281490087509155, 0.03203386068344116],
      ...[0.07127940654754639, 0.07877591997385025, 0.08706086128950119, -0.23711621761322021],
      ...[0.0002562832087278366, -0.05228465795516968, 0.013992588967084885, 0.0380358025431633],
      ...[0, 0, 0, 0],
    ],
  },
  {
    smoothing: 0.1,
    losses: [0.5048496127128601, 1.257535457611084, 0.4706151485443115, 0],
    gradient: [
      ...[-0.07163338363170624, 0.0034512626007199287, 0.044481560587882996, 0.023700522258877754],
      ...[0.06294606626033783, 0.0704425796866417, 0.07872752100229263, -0.21211618185043335],
      ...[-0.008077050559222698, -0.02728467434644699, 0.005659253336489201, 0.029702460393309593],
      ...[0, 0, 0, 0],
    ],
  },
];

async function close(got: tf.Tensor, want: number[], what: string): Promise<void> {
  const { maxAbs } = difference(await got.data(), want);
  got.dispose();
  assert.ok(maxAbs < 1e-6, `${what}: differs by ${maxAbs}`);
}

for (const { smoothing, losses, gradient } of cases) {
  test(`values and gradients of PyTorch's cross_entropy, label smoothing ${smoothing}, a position ignored`, () =>
    withoutLeaks(async () => {
      const x = tf.tensor3d(logits);
      const labels = tf.tensor2d([0, 3, 1, 2], [2, 2], 'int32');
      const weights = tf.tensor2d([1, 1, 1, 0], [2, 2]);
      const dy = tf.fill([2], 1 / 3);
      const pass = () => answerLosses(x, labels, weights, smoothing);
      await close(pass(), [losses[0] + losses[1], losses[2]], 'the loss of each answer');
      await close(vectorJacobian(pass, [x], dy)[0]!, gradient, 'the gradient of the mean over tokens');
      tf.dispose([x, labels, weights, dy]);
    }));
}

test('weights scale the losses of tokens', () =>
  withoutLeaks(async () => {
    const [x, labels] = [tf.tensor3d(logits), tf.tensor2d([0, 3, 1, 2], [2, 2], 'int32')];
    const weights = tf.tensor2d([0.3, 1, 2, 0], [2, 2]);
    const [a, b, c] = cases[0].losses;
    await close(answerLosses(x, labels, weights, 0), [0.3 * a + b, 2 * c], 'the loss of each answer');
    tf.dispose([x, labels, weights]);
  }));

test('a position of weight 0 may have any logits, also ones whose sum is not finite', () =>
  withoutLeaks(async () => {
    const x = tf.tensor3d([
      [
        [1, 2],
        [1e30, -1e30],
      ],
    ]);
    const [labels, weights] = [tf.tensor2d([1, 1], [1, 2], 'int32'), tf.tensor2d([1, 0], [1, 2])];
    await close(answerLosses(x, labels, weights, 0), [Math.log(1 + Math.exp(-1))], 'the loss');
    tf.dispose([x, labels, weights]);
  }));

test.run();
