import * as tf from '@tensorflow/tfjs';
import type { NodeBackend } from '../tensorflow_binding.ts';
import { dataTypes } from './saved_model.ts';

/**
 * Weights as 16-bit floats [out, in], as kernels for few rows read them fastest: half the memory to read at each step.
 * Only those that lose nothing by it, as all of a checkpoint in fp16.
 */
export class HalfWeights {
  private readonly backend = tf.backend() as unknown as NodeBackend;
  /** The binding's numbers of tensors; undefined for weights that halves cannot hold. */
  private readonly ids = new Map<tf.Tensor, number | undefined>();

  /**
   * The binding's number of the copy of a weight; undefined where it would be another weight.
   *
   * @param transposed whether the weight is [out, in] already, not [in, out]
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
    const { float32, float16 } = dataTypes;
    let id: number | undefined;
    tf.tidy(() => {
      const turned = transposed ? weight : tf.transpose(weight);
      const half = this.cast(this.backend.getInputTensorIds([turned])[0], float32, float16);
      const back = this.backend.createOutputTensor(this.cast(half.id, float16, float32));
      // Nothing is waited for: on this backend it has been computed.
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
