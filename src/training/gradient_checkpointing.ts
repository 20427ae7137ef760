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
 * Gradient checkpointing. The forward pass keeps only the inputs of each block and frees the block's intermediates; the
 * backward pass runs each block again from its inputs and differentiates it. Memory falls to all blocks' inputs plus
 * the intermediates of the largest block; time grows by one forward pass. Chen et al. 2016,
 * https://arxiv.org/abs/1604.06174.
 *
 * tfjs cannot nest gradients, so this class applies the chain rule between blocks itself.
 */
export class BlockTape {
  private readonly blocks: Block[] = [];
  private readonly kept = new Map<number, tf.Tensor>(); // copies of inputs by the id of the original, and outputs
  private readonly learning = new Set<number>(); // ids of outputs that depend on a trainable parameter

  constructor(private readonly trainable: readonly Parameter[]) {}

  /** Runs a block and records it. Pass this to `HookRegistry.root`. */
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
   * Returns the gradients of Σ output · dy for the trainable parameters that the output depends on. The caller disposes
   * them. Disposes the block outputs.
   *
   * @param output the output of the last block
   */
  backward(output: tf.Tensor, dy: tf.Tensor): Map<Parameter, tf.Tensor> {
    const parameterGradients = new Map<Parameter, tf.Tensor>();
    const outputGradients = new Map([[output.id, dy.clone()]]);
    for (const block of this.blocks.toReversed()) {
      const dy = outputGradients.get(block.output.id);
      if (!dy) continue; // the output does not depend on this block
      const inputs = block.inputs.filter(input => input !== null && this.learning.has(input.id)) as tf.Tensor[];
      const gradients = vectorJacobian(() => block.forward(...block.inputs), [...inputs, ...this.values], dy);
      gradients.forEach((gradient, i) => {
        if (!gradient) return;
        if (i < inputs.length) accumulate(outputGradients, inputs[i].id, gradient);
        else accumulate(parameterGradients, this.trainable[i - inputs.length], gradient);
      });
      outputGradients.delete(block.output.id);
      tf.dispose([dy, block.output]); // only later blocks used the output, and they are done
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

  /** Returns a copy of a block's input that survives the surrounding `tf.tidy`. */
  private keep(input: tf.Tensor): tf.Tensor {
    const kept = this.kept.get(input.id) ?? tf.keep(input.clone());
    this.kept.set(input.id, kept);
    return kept;
  }

  /** Whether a block may use a trainable parameter. Blocks without a path may use any. */
  private mayTrain(path: string): boolean {
    return path === '' || this.trainable.some(({ name }) => name.startsWith(`${path}.`));
  }
}
