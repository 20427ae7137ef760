import type * as tf from '@tensorflow/tfjs';
import { type Kernel, kernelNames, registeredName } from '../nn/kernels.ts';
import type { NodeBackend } from './tensorflow_binding.ts';

const attributeTypes: Record<string, string> = {
  epsilon: 'TF_ATTR_FLOAT',
  scale: 'TF_ATTR_FLOAT',
  k: 'TF_ATTR_INT',
  file: 'TF_ATTR_STRING',
  halves: 'TF_ATTR_BOOL',
  rows: 'TF_ATTR_INT',
  columns: 'TF_ATTR_INT',
  transposed: 'TF_ATTR_BOOL',
};

/** How many tensors a kernel gives, where it is not one. */
const counts: Partial<Record<Kernel, number>> = { AttentionGrad: 3, LowRankGrad: 3 };

/** Tells tfjs of the operations that our addon has registered with TensorFlow: by the same names and inputs. */
export function registerKernels(tfjs: typeof tf): void {
  for (const kernel of kernelNames) {
    tfjs.registerKernel({
      kernelName: registeredName(kernel),
      backendName: 'tensorflow',
      kernelFunc: ({ inputs, attrs, backend }) => {
        const node = backend as NodeBackend;
        const attributes = Object.entries(attrs ?? {}).map(([name, value]) => {
          return { name, type: node.binding[attributeTypes[name]] as number, value };
        });
        const tensors = Object.values(inputs) as tf.Tensor[];
        const count = counts[kernel];
        return count
          ? node.executeMultipleOutputs(registeredName(kernel), attributes, tensors, count)
          : node.executeSingleOutput(registeredName(kernel), attributes, tensors);
      },
    });
  }
}
