import type * as tf from '@tensorflow/tfjs';
import { kernelNames, registeredName } from '../nn/kernels.ts';
import type { NodeBackend } from './graph/record.ts';

const attributeTypes: Record<string, string> = {
  epsilon: 'TF_ATTR_FLOAT',
  k: 'TF_ATTR_INT',
  rows: 'TF_ATTR_INT',
  columns: 'TF_ATTR_INT',
  transposed: 'TF_ATTR_BOOL',
};

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
        return node.executeSingleOutput(registeredName(kernel), attributes, Object.values(inputs) as tf.Tensor[]);
      },
    });
  }
}
