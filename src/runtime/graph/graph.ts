import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { Florence2Error, UsageError } from '../../errors.ts';
import { ownKernels, protocolBuffers, quietly } from '../tensorflow.ts';
import type { NodeBackend, TensorMetadata } from '../tensorflow_binding.ts';
import { fewRows, withHalfWeights } from './few_rows.ts';
import { fusions, inBf16, sharedConstants } from './fuse.ts';
import type { HalfWeights } from './half_weights.ts';
import { type GraphNode, inOrder, type Output, specOf, type TensorSpec } from './nodes.ts';
import { operation, rewrite } from './patterns.ts';
import { asProgram, type Program } from './program.ts';
import { placeholder, record } from './record.ts';
import { savedModel, TAG } from './saved_model.ts';
import { unify } from './unify.ts';

/** A function that a graph can record: it takes and returns tensors. */
export type GraphFunction = (...inputs: tf.Tensor[]) => readonly tf.Tensor[];

export interface GraphOptions {
  /**
   * Keeps the fp16 copies of weights, and selects our kernels for matrices with few rows, as in decoding. Requires
   * `kernelsSupported()`. Must outlive the graph. Default: fp32 weights and TensorFlow's kernels.
   */
  halfWeights?: HalfWeights;
  /** Computes matrix products with a bias in bf16. Default false. */
  bf16?: boolean;
}

/** A compiled graph in TensorFlow. */
interface Runner {
  /** Takes the binding's ids of the inputs and returns the outputs. */
  run(ids: readonly number[]): TensorMetadata[];
  dispose(): void;
}

/**
 * A function of tensors, compiled to one TensorFlow graph, like torch.compile: TensorFlow fuses and schedules the
 * operations that tfjs would call one by one. Weights are not copied; they share memory with the tensors that the
 * function was recorded with. Requires the tensorflow backend on a CPU (`graphsSupported()`).
 */
export class Graph {
  private readonly backend = tf.backend() as unknown as NodeBackend;

  private constructor(
    private readonly runner: Runner,
    private readonly inputs: readonly TensorSpec[],
    private readonly weights: readonly tf.Tensor[],
    /** The binding's ids of the fp16 weights. */
    private readonly halves: readonly number[],
  ) {}

  /**
   * Records a function and compiles it. Nothing is computed yet; see `record`.
   *
   * @param examples two sets of inputs. Axes in which they differ in size may have any size in `run`
   * @param weights the tensors that the function may use in addition to its inputs. They must outlive the graph
   * @throws Florence2Error if the function cannot be recorded or the graph cannot be loaded
   * @throws DependsOnSizeError if the two examples result in different operations
   */
  static compile(
    fn: GraphFunction,
    examples: readonly [readonly TensorSpec[], readonly TensorSpec[]],
    weights: readonly tf.Tensor[],
    { halfWeights, bf16 = false }: GraphOptions = {},
  ): Graph {
    const [a, b] = examples.map(example => record(fn, example, weights));
    const { inputs, outputs: recorded, captured } = unify(a, b);
    const halves = new Map<GraphNode, number>();
    let outputs = rewrite(recorded, halfWeights ? [...fewRows, ...fusions] : fusions);
    if (halfWeights) outputs = rewrite(outputs, [withHalfWeights(halver(captured, halfWeights, halves))]);
    if (bf16) outputs = rewrite(outputs, [inBf16]);

    const needed = new Set(inOrder(outputs));
    const read = [...captured].filter(([, node]) => needed.has(node));
    const reads = [...inputs, ...read.map(([, node]) => node), ...halves.keys()];
    const program = halfWeights && asProgram(outputs);
    const runner = program ? runProgram(program, reads) : runSavedModel(outputs, reads);
    return new Graph(
      runner,
      inputs.map(node => node.outputs[0]),
      read.map(([tensor]) => tensor),
      [...halves.values()],
    );
  }

  /**
   * Computes the function. The caller disposes the result.
   *
   * @throws UsageError for another number of inputs, and for other sizes or dtypes than those of the examples
   */
  run(...inputs: tf.Tensor[]): tf.Tensor[] {
    this.check(inputs);
    const ids = [...this.backend.getInputTensorIds([...inputs, ...this.weights]), ...this.halves];
    return this.runner.run(ids).map(output => this.backend.createOutputTensor(output));
  }

  dispose(): void {
    this.runner.dispose();
  }

  private check(inputs: readonly tf.Tensor[]): void {
    if (inputs.length !== this.inputs.length) {
      throw new UsageError(`The graph takes ${this.inputs.length} inputs, not ${inputs.length}.`);
    }
    for (const [i, { shape, dtype }] of this.inputs.entries()) {
      const { shape: given, dtype: type } = inputs[i];
      const fits = given.length === shape.length && shape.every((size, axis) => size < 0 || size === given[axis]);
      if (fits && type === dtype) continue;
      const expected = shape.map(size => (size < 0 ? 'any' : size)).join(', ');
      throw new UsageError(
        `Input ${i} of the graph must be ${dtype} [${expected}], not ${type} [${given.join(', ')}].`,
      );
    }
  }
}

/** Compiles a graph as a TensorFlow SavedModel. `reads` are the placeholders that `run` takes values for. */
function runSavedModel(outputs: readonly Output[], reads: readonly GraphNode[]): Runner {
  const { binding } = tf.backend() as unknown as NodeBackend;
  const results = rewrite(outputs, [sharedConstants()]).map(computed);
  const names = new Map([...inOrder(results), ...reads].map((node, i) => [node, `n${i}`]));
  const id = load(savedModel(protocolBuffers(), names));
  const feeds = reads.map(node => `${names.get(node)}:0`).join();
  const fetches = results.map(({ node, index }) => `${names.get(node)}:${index}`).join();
  return {
    run: ids => binding.runSavedModel(id, [...ids], feeds, fetches),
    dispose: () => binding.deleteSavedModel(id),
  };
}

/** Compiles a graph to our operation Florence2Program. `reads` are the placeholders that `run` takes values for. */
function runProgram({ inputs, counts, code, values }: Program, reads: readonly GraphNode[]): Runner {
  const { binding } = tf.backend() as unknown as NodeBackend;
  const kernels = ownKernels();
  const program = kernels.addProgram(code, values);
  const places = inputs.map(node => reads.indexOf(node));
  const settings = { n_floats: counts[0], n_halves: counts[1], n_integers: counts[2], count: values.length, program };
  const attributes = Object.entries(settings).map(([name, value]) => {
    return { name, type: binding.TF_ATTR_INT as number, value };
  });
  return {
    run: ids =>
      binding.executeOp(
        'Florence2Program',
        attributes,
        places.map(place => ids[place]),
        values.length,
      ),
    dispose: () => kernels.removeProgram(program),
  };
}

/** TensorFlow cannot return a placeholder as an output, so placeholders are wrapped in an Identity. */
const computed = (output: Output): Output =>
  output.node.op === 'Placeholder'
    ? operation('Identity', [output], specOf(output), [{ name: 'T', type: 'type', value: specOf(output).dtype }])
    : output;

/**
 * Returns a function that maps weights to placeholders of their fp16 copies. It adds these with their ids to `halves`.
 */
function halver(captured: ReadonlyMap<tf.Tensor, GraphNode>, halfWeights: HalfWeights, halves: Map<GraphNode, number>) {
  const weights = new Map([...captured].map(([tensor, node]) => [node, tensor]));
  const copies = new Map<GraphNode, Output | undefined>();
  return ({ node }: Output, transposed: boolean): Output | undefined => {
    const weight = weights.get(node) as tf.Tensor2D | undefined;
    if (weight && !copies.has(node)) {
      const id = halfWeights.of(weight, transposed);
      const [rows, columns] = weight.shape;
      const half = placeholder({ shape: transposed ? [rows, columns] : [columns, rows], dtype: 'float16' });
      if (id !== undefined) halves.set(half, id);
      copies.set(node, id === undefined ? undefined : { node: half, index: 0 });
    }
    return copies.get(node);
  };
}

/** Loads a SavedModel through a temporary folder: TensorFlow cannot load one from memory. */
function load(model: Uint8Array): number {
  const { binding } = tf.backend() as unknown as NodeBackend;
  let folder: string | undefined;
  try {
    const path = mkdtempSync(join(tmpdir(), 'florence2-graph-'));
    folder = path;
    writeFileSync(join(path, 'saved_model.pb'), model);
    return quietly(() => binding.loadSavedModel(path, TAG));
  } catch (error) {
    const reason = (error as Error).message;
    throw new Florence2Error(
      `The graph cannot be loaded through the temporary folder ${tmpdir()} (set TMPDIR for another): ${reason}`,
      { code: 'BACKEND', cause: error },
    );
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true });
  }
}
