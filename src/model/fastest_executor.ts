import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import type { Executor, Precision } from './executor.ts';
import type { Florence2Model } from './florence2_model.ts';

/**
 * Returns the fastest executor for the model's backend: graphs on TensorFlow without a GPU, else the model itself.
 *
 * @throws Florence2Error if the backend does not support the precision
 */
export async function fastestExecutor(model: Florence2Model, precision: Precision = 'fp32'): Promise<Executor> {
  if ((model.backend ?? tf.getBackend()) === 'tensorflow') {
    const { graphsSupported } = await import('../runtime/tensorflow.ts');
    if (graphsSupported()) {
      const { GraphExecutor } = await import('./graph_executor.ts');
      if (precision === 'bf16') (await import('../runtime/product_times.ts')).warnOfSlowBf16();
      return model.compute(() => new GraphExecutor(model, precision));
    }
  }
  if (precision === 'fp32') return model;
  throw new Florence2Error(`Precision ${precision} needs the tensorflow backend without a GPU.`, { code: 'BACKEND' });
}
