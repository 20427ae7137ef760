import * as tf from '@tensorflow/tfjs';
import type { NodeBackend } from '../tensorflow_binding.ts';
import { DATA_TYPES } from './saved_model.ts';

/**
 * fp16 copies of weights, [out, in]: the layout that the kernels for few rows read fastest, and half the memory to read
 * at each step. Only weights that fp16 represents exactly are copied, such as all of an fp16 checkpoint.
 */
export class HalfWeights {
  private readonly backend = tf.backend() as unknown as NodeBackend;
  /** The binding's ids of the copies; undefined for weights that fp16 cannot represent. */
  private readonly ids = new Map<tf.Tensor, number | undefined>();

  /**
   * Returns the binding's id of a weight's copy, or undefined if the copy would not be exact.
   *
   * @param transposed true if the weight is [out, in] already, false if it is [in, out]
   */
  of(weight: tf.Tensor, transposed: boolean): number | undefined {
    if (!this.ids.has(weight)) this.ids.set(weight, this.exactCopy(weight, transposed));
    return this.ids.get(weight);
  }

  dispose(): void {
    for (const id of this.ids.values()) if (id !== undefined) this.backend.binding.deleteTensor(id);
    this.ids.clear();
  }

  private exactCopy(weight: tf.Tensor, transposed: boolean): number | undefined {
    const { float32, float16 } = DATA_TYPES;
    let id: number | undefined;
    tf.tidy(() => {
      const turned = transposed ? weight : tf.transpose(weight);
      const half = this.cast(this.backend.getInputTensorIds([turned])[0], float32, float16);
      const back = this.backend.createOutputTensor(this.cast(half.id, float16, float32));
      // dataSync does not block here: on this backend the result is already computed.
      if (tf.all(tf.equal(back, turned)).dataSync()[0] === 1) id = half.id;
      else this.backend.binding.deleteTensor(half.id);
    });
    return id;
  }

  private cast(id: number, from: number, to: number) {
    const { binding } = this.backend;
    const type = (name: string, value: number) => ({ name, type: binding.TF_ATTR_TYPE as number, value });
    return binding.executeOp('Cast', [type('SrcT', from), type('DstT', to)], [id], 1)[0];
  }
}
