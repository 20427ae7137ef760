import type * as tf from '@tensorflow/tfjs';
import { kernelName, onePassKernels } from '../nn/one_pass.ts';
import type { NodeBackend } from './graph/record.ts';

const attributeTypes: Record<string, string> = {
  epsilon: 'TF_ATTR_FLOAT',
  k: 'TF_ATTR_INT',
  rows: 'TF_ATTR_INT',
  columns: 'TF_ATTR_INT',
  transposed: 'TF_ATTR_BOOL',
};

/** Tells tfjs of the operations that kernels/one_pass.cc has registered with TensorFlow: by the same names and inputs. */
export function registerOnePassKernels(tfjs: typeof tf): void {
  for (const kernel of onePassKernels) {
    tfjs.registerKernel({
      kernelName: kernelName(kernel),
      backendName: 'tensorflow',
      kernelFunc: ({ inputs, attrs, backend }) => {
        const node = backend as NodeBackend;
        const attributes = Object.entries(attrs ?? {}).map(([name, value]) => {
          return { name, type: node.binding[attributeTypes[name]] as number, value };
        });
        return node.executeSingleOutput(kernelName(kernel), attributes, Object.values(inputs) as tf.Tensor[]);
      },
    });
  }
}
