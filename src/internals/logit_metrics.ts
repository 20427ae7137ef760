import * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import { answerLosses } from '../nn/cross_entropy.ts';
import type { Question } from './question.ts';

/** One number for each row of a forced pass, [rows]. */
export type RowMetric = (logits: tf.Tensor3D, question: Question) => tf.Tensor1D;

/** What a gradient is of: one number, or one for each row, which are added up. */
export type Metric = (logits: tf.Tensor3D, question: Question) => tf.Scalar | tf.Tensor1D;

/** Log-probability of the whole answer: the sum over its tokens, `</s>` included. */
export function answerLogProb(): RowMetric {
  return (logits, { answerIds }) => {
    const [rows, T] = logits.shape;
    if (T !== answerIds.length) {
      throw new UsageError(`The answer has ${answerIds.length} tokens, the logits are of ${T} positions.`);
    }
    return tf.tidy(() => {
      const labels = tf.tile(tf.tensor2d([...answerIds], [1, T], 'int32'), [rows, 1]);
      return tf.neg(answerLosses(logits, labels, tf.ones([rows, T]), 0));
    });
  };
}

/** The logit of a token at a position of the answer, both counted from 0. */
export function logitOf(position: number, token: number): RowMetric {
  return logits => {
    const [rows, T, V] = logits.shape;
    if (!(position >= 0 && position < T))
      throw new UsageError(`The answer has positions 0 to ${T - 1}, not ${position}.`);
    if (!(token >= 0 && token < V)) throw new UsageError(`The vocabulary has ids 0 to ${V - 1}, not ${token}.`);
    return tf.tidy(() => tf.reshape(tf.slice(logits, [0, position, token], [rows, 1, 1]), [rows]) as tf.Tensor1D);
  };
}

/** By how much the model prefers token a to token b at a position: logit(a) − logit(b), which is log(p(a) / p(b)). */
export function logitDifference(position: number, a: number, b: number): RowMetric {
  const [first, second] = [logitOf(position, a), logitOf(position, b)];
  return (logits, question) => tf.tidy(() => tf.sub(first(logits, question), second(logits, question)) as tf.Tensor1D);
}
