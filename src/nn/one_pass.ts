import * as tf from '@tensorflow/tfjs';
import { withGradient } from './gradient.ts';

/** The functions of ops.ts that a backend may have kernels for, which go through memory once: see runtime/one_pass.ts. */
export type OnePassKernel = 'Gelu' | 'GeluGrad' | 'LayerNorm' | 'LayerNormGrad' | 'LayerNormWeightGrad' | 'SoftmaxGrad';

/** Whether the active backend has these kernels. */
export const hasOnePass = (): boolean => tf.getKernel(kernelName('Gelu'), tf.getBackend()) !== undefined;

/** The name under which tfjs knows a kernel. */
export const kernelName = (kernel: OnePassKernel): string => `Florence2${kernel}`;

function run<T extends tf.Tensor>(kernel: OnePassKernel, inputs: tf.NamedTensorMap, attributes: object = {}): T {
  return tf.engine().runKernel(kernelName(kernel), inputs, attributes as tf.NamedAttrMap);
}

/** As `gelu` of ops.ts. */
export function gelu<T extends tf.Tensor>(x: T): T {
  return withGradient(
    { x },
    save => {
      save([x]);
      return run<T>('Gelu', { x });
    },
    (dy, [x]) => ({ x: () => run('GeluGrad', { x, dy }) }),
  );
}

/** As `layerNorm` of ops.ts. */
export function layerNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor1D, bias: tf.Tensor1D, epsilon: number): T {
  return withGradient(
    { x, weight, bias },
    save => {
      save([x, weight]);
      return run<T>('LayerNorm', { x, weight, bias }, { epsilon });
    },
    (dy, [x, weight]) => ({
      x: () => run('LayerNormGrad', { x, weight, dy }, { epsilon }),
      weight: () => run('LayerNormWeightGrad', { x, dy }, { epsilon }),
      bias: () => tf.sum(tf.reshape(dy, [-1, bias.size]), 0),
    }),
  );
}

/** As `softmax` of ops.ts. */
export function softmax<T extends tf.Tensor>(x: T): T {
  return withGradient(
    { x },
    save => {
      const y = tf.softmax(x);
      save([y]);
      return y;
    },
    (dy, [y]) => ({ x: () => run('SoftmaxGrad', { y, dy }) }),
  );
}
