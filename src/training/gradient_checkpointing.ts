import * as tf from '@tensorflow/tfjs';
import type { BlockInputs, BlockRunner } from '../hooks/hooks.ts';
import type { Parameter } from '../nn/params.ts';
import { accumulate, vectorJacobian } from '../nn/tape.ts';

interface Block {
  forward: (...inputs: BlockInputs) => tf.Tensor;
  inputs: BlockInputs;
  output: tf.Tensor;
}

/**
 * Gradient checkpointing: a network's blocks run forward without keeping their insides; on the way back each is run
 * again from its inputs, and gives the gradients of its inputs and parameters. Memory falls to the largest block and
 * all blocks' inputs, time rises by a forward pass. Chen et al. 2016, https://arxiv.org/abs/1604.06174.
 *
 * tfjs cannot nest gradients, so the chain rule between blocks is applied here.
 */
export class BlockTape {
  private readonly blocks: Block[] = [];
  private readonly kept = new Map<number, tf.Tensor>(); // by the id of the tensor that a block was given
  private readonly learning = new Set<number>(); // ids of outputs that depend on a trainable parameter

  constructor(private readonly trainable: readonly Parameter[]) {}

  /** Give it to `HookRegistry.root`. */
  readonly run: BlockRunner = (path, forward, inputs) => {
    const output = tf.keep(tf.tidy(() => forward(...inputs)));
    const keptInputs = inputs.map(input => (input ? this.keep(input) : null));
    const learns = this.mayTrain(path) || inputs.some(input => input && this.learning.has(input.id));
    this.kept.set(output.id, output);
    if (learns) {
      this.learning.add(output.id);
      this.blocks.push({ forward, inputs: keptInputs, output });
    }
    return output;
  };

  /**
   * Gradients of Σ output · dy with respect to the trainable parameters that it depends on. The caller disposes them.
   * The outputs of the blocks are gone after it.
   *
   * @param output of the last block
   */
  backward(output: tf.Tensor, dy: tf.Tensor): Map<Parameter, tf.Tensor> {
    const parameterGradients = new Map<Parameter, tf.Tensor>();
    const outputGradients = new Map([[output.id, dy.clone()]]);
    for (const block of this.blocks.toReversed()) {
      const dy = outputGradients.get(block.output.id);
      if (!dy) continue; // nothing that was asked about depends on it
      const inputs = block.inputs.filter(input => input !== null && this.learning.has(input.id)) as tf.Tensor[];
      const gradients = vectorJacobian(() => block.forward(...block.inputs), [...inputs, ...this.values], dy);
      gradients.forEach((gradient, i) => {
        if (!gradient) return;
        if (i < inputs.length) accumulate(outputGradients, inputs[i].id, gradient);
        else accumulate(parameterGradients, this.trainable[i - inputs.length], gradient);
      });
      outputGradients.delete(block.output.id);
      tf.dispose([dy, block.output]); // only later blocks were given it
    }
    return parameterGradients;
  }

  dispose(): void {
    tf.dispose([...this.kept.values()]);
    this.kept.clear();
    this.blocks.length = 0;
  }

  private get values(): tf.Tensor[] {
    return this.trainable.map(({ value }) => value);
  }

  /** A block's input outlives the scope in which it was made. */
  private keep(input: tf.Tensor): tf.Tensor {
    const kept = this.kept.get(input.id) ?? tf.keep(input.clone());
    this.kept.set(input.id, kept);
    return kept;
  }

  /** Whether a block of this path may use a trainable parameter: all of them for ''. */
  private mayTrain(path: string): boolean {
    return path === '' || this.trainable.some(({ name }) => name.startsWith(`${path}.`));
  }
}
