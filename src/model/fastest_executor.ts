import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { EagerExecutor, type Executor, type Precision } from './executor.ts';
import type { Florence2Model } from './florence2_model.ts';

/**
 * The fastest way to run a model on the active backend.
 *
 * @throws Florence2Error when it has no such precision
 */
export async function fastestExecutor(model: Florence2Model, precision: Precision = 'fp32'): Promise<Executor> {
  if (tf.getBackend() === 'tensorflow') {
    const { graphsSupported } = await import('../runtime/tensorflow.ts');
    if (graphsSupported()) return new (await import('./graph_executor.ts')).GraphExecutor(model, precision);
  }
  if (precision === 'fp32') return new EagerExecutor(model);
  throw new Florence2Error(`Precision ${precision} is there on the tensorflow backend without a GPU only.`);
}
