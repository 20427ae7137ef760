import * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import { answerLosses } from '../nn/cross_entropy.ts';
import { checkKind, whole } from '../options.ts';
import type { Question } from './question.ts';

/** Computes one number per row of a forced pass: logits [rows, T, V] -> [rows]. */
export type RowMetric = (logits: tf.Tensor3D, question: Question) => tf.Tensor1D;

/** Computes the number whose gradient is taken: a scalar, or one number per row, which are summed. */
export type Metric = (logits: tf.Tensor3D, question: Question) => tf.Scalar | tf.Tensor1D;

/** Returns a metric: the log-probability of the whole answer in nats, summed over its tokens including `</s>`. */
export function answerLogProb(): RowMetric {
  return (logits, { answerIds }) => {
    const [rows, T] = logits.shape;
    if (T !== answerIds.length) {
      throw new UsageError(`The answer has ${answerIds.length} tokens, but the logits have ${T} positions.`);
    }
    return tf.tidy(() => {
      const labels = tf.tile(tf.tensor2d([...answerIds], [1, T], 'int32'), [rows, 1]);
      return tf.neg(answerLosses(logits, labels, tf.ones([rows, T]), 0));
    });
  };
}

/**
 * Returns a metric: the logit of a token at a position of the answer, from 0. The metric throws a UsageError if the
 * position or the token id does not exist.
 */
export function logitOf(position: number, token: number): RowMetric {
  checkKind('position', position, whole);
  checkKind('token', token, whole);
  return logits => {
    const [rows, T, V] = logits.shape;
    if (position >= T)
      throw new UsageError(`Position ${position} does not exist; the answer has positions 0 to ${T - 1}.`);
    if (token >= V) throw new UsageError(`Token id ${token} does not exist; ids are 0 to ${V - 1}.`);
    return tf.tidy(() => tf.reshape(tf.slice(logits, [0, position, token], [rows, 1, 1]), [rows]) as tf.Tensor1D);
  };
}

/** Returns a metric: logit(a) − logit(b) at a position of the answer, which equals log(p(a) / p(b)). */
export function logitDifference(position: number, a: number, b: number): RowMetric {
  const [first, second] = [logitOf(position, a), logitOf(position, b)];
  return (logits, question) => tf.tidy(() => tf.sub(first(logits, question), second(logits, question)) as tf.Tensor1D);
}
