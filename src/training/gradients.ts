import * as tf from '@tensorflow/tfjs';
import type { HookRegistry, Hooks } from '../hooks/hooks.ts';
import type { Parameter } from '../nn/params.ts';
import { vectorJacobian } from '../nn/tape.ts';
import { BlockTape } from './gradient_checkpointing.ts';

/** A forward pass that returns the loss of each answer, [R]. */
export type LossPass = (h: Hooks) => tf.Tensor1D;

/** The result of running a pass forward and backward. */
export interface LossAndGradients {
  /** Loss of each answer, [R]. */
  losses: tf.Tensor1D;
  /** Gradients of Σ losses · scale, without parameters that the losses do not depend on. */
  gradients: Map<Parameter, tf.Tensor>;
}

/**
 * Runs a pass forward and backward. The caller disposes the result. If the pass throws, all tensors are disposed.
 *
 * @param scale factor of the losses; 1 / number of tokens gives the gradients of the mean over tokens
 * @param gradientCheckpointing recompute each block's intermediates instead of keeping them, see `BlockTape`
 */
export function lossAndGradients(
  pass: LossPass,
  trainable: readonly Parameter[],
  scale: number,
  hooks: HookRegistry,
  gradientCheckpointing: boolean,
): LossAndGradients {
  const run = gradientCheckpointing ? inBlocks : atOnce;
  let result: LossAndGradients | undefined;
  tf.tidy(() => {
    result = run(pass, trainable, scale, hooks);
    return [result.losses, ...result.gradients.values()];
  });
  return result!;
}

function atOnce(pass: LossPass, trainable: readonly Parameter[], scale: number, hooks: HookRegistry): LossAndGradients {
  let kept: tf.Tensor1D | undefined;
  const total = (): tf.Scalar => {
    const losses = pass(hooks.root());
    kept = tf.keep(losses.clone()); // otherwise it would be disposed with the pass's other tensors
    return tf.mul(tf.sum(losses), scale) as tf.Scalar;
  };
  const values = trainable.map(({ value }) => value);
  try {
    const found = vectorJacobian(total, values, tf.scalar(1));
    const pairs = trainable.map((parameter, i) => [parameter, found[i]] as const);
    const gradients = pairs.filter((pair): pair is [Parameter, tf.Tensor] => pair[1] !== null);
    return { losses: kept!, gradients: new Map(gradients) };
  } catch (error) {
    kept?.dispose();
    throw error;
  }
}

function inBlocks(
  pass: LossPass,
  trainable: readonly Parameter[],
  scale: number,
  hooks: HookRegistry,
): LossAndGradients {
  const tape = new BlockTape(trainable);
  try {
    const output = tf.tidy(() => pass(hooks.root(undefined, tape.run))); // the tape keeps block outputs
    const losses = output.clone();
    return { losses, gradients: tape.backward(output, tf.fill(losses.shape, scale)) };
  } finally {
    tape.dispose();
  }
}
