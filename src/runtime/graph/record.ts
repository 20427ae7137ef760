import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../../errors.ts';
import type { NodeBackend, OpAttribute } from '../tensorflow_binding.ts';
import { type Attribute, constant, type DType, type GraphNode, type Output, type TensorSpec } from './nodes.ts';
import { DATA_TYPES } from './saved_model.ts';
import { outputShapes } from './shapes.ts';

/** The operations that a function of tensors consists of. */
export interface Recording {
  readonly inputs: readonly GraphNode[];
  readonly outputs: readonly Output[];
  /** The tensors that the function used in addition to its inputs, and their nodes. */
  readonly captured: ReadonlyMap<tf.Tensor, GraphNode>;
}

/**
 * Records the operations that `fn` applies to inputs of these shapes. Runs `fn` without computing anything: its tensors
 * have shapes but no values. Tensors that it creates from JavaScript numbers become constants.
 *
 * @param mayCapture the tensors that `fn` may use in addition to its inputs
 * @throws Florence2Error if `fn` uses another tensor, or an operation that shapes.ts has no rule for
 */
export function record(
  fn: (...inputs: tf.Tensor[]) => readonly tf.Tensor[],
  inputs: readonly TensorSpec[],
  mayCapture: readonly tf.Tensor[],
): Recording {
  const recorder = new Recorder(tf.backend() as unknown as NodeBackend, mayCapture);
  let recording: Recording;
  tf.tidy(() => {
    recording = recorder.run(fn, inputs);
  });
  return recording!;
}

class Recorder {
  private readonly outputs = new Map<object, Output>();
  private readonly capturable: ReadonlyMap<object, tf.Tensor>;
  /** Data ids of tensors created from JavaScript values during the recording. */
  private readonly written = new Set<object>();
  private readonly captured = new Map<tf.Tensor, GraphNode>();

  constructor(
    private readonly backend: NodeBackend,
    mayCapture: readonly tf.Tensor[],
  ) {
    this.capturable = new Map(mayCapture.map(tensor => [tensor.dataId, tensor]));
  }

  run(fn: (...inputs: tf.Tensor[]) => readonly tf.Tensor[], specs: readonly TensorSpec[]): Recording {
    const { backend } = this;
    const nodes = specs.map(placeholder);
    const inputs = nodes.map(node => this.symbolic({ node, index: 0 }));
    const single: NodeBackend['executeSingleOutput'] = (op, attributes, inputs) =>
      this.operation(op, attributes, inputs, 1)[0];
    const multiple: NodeBackend['executeMultipleOutputs'] = (op, attributes, inputs, count) =>
      this.operation(op, attributes, inputs, count);
    const { executeSingleOutput, executeMultipleOutputs, write } = backend;
    const noting: NodeBackend['write'] = (...data) => {
      const dataId = write.apply(backend, data);
      this.written.add(dataId);
      return dataId;
    };
    Object.assign(backend, { executeSingleOutput: single, executeMultipleOutputs: multiple, write: noting });
    try {
      const outputs = fn(...inputs).map(tensor => this.outputOf(tensor));
      return { inputs: nodes, outputs, captured: this.captured };
    } finally {
      Object.assign(backend, { executeSingleOutput, executeMultipleOutputs, write });
    }
  }

  private operation(op: string, given: OpAttribute[], tensors: tf.Tensor[], count: number): tf.Tensor[] {
    const inputs = tensors.map(tensor => this.outputOf(tensor));
    const attributes = given.map(attribute => this.attribute(attribute));
    // In eager mode TensorFlow infers this type; in a graph it must be given.
    if (op === 'ExpandDims') attributes.push({ name: 'T', type: 'type', value: tensors[0].dtype as DType });
    const attribute = (name: string) => attributes.find(attribute => attribute.name === name)?.value;
    const dtype = (attribute('DstT') ?? tensors[0].dtype) as DType;
    const shapes = outputShapes({ op, inputs, attribute }, count);
    const node: GraphNode = { op, attributes, inputs, outputs: shapes.map(shape => ({ shape, dtype })) };
    return shapes.map((_, index) => this.symbolic({ node, index }));
  }

  /** Returns a tensor without values that represents `output`. */
  private symbolic(output: Output): tf.Tensor {
    const { shape, dtype } = output.node.outputs[output.index];
    const tensor = this.backend.createOutputTensor({ id: -1, shape: [...shape], dtype: DATA_TYPES[dtype] });
    // Kernels check index values during the recording: the indices are 0 until the graph runs.
    if (dtype === 'int32') this.backend.tensorMap.get(tensor.dataId)!.values = new Int32Array(tensor.size);
    this.outputs.set(tensor.dataId, output);
    return tensor;
  }

  private outputOf(tensor: tf.Tensor): Output {
    const known = this.outputs.get(tensor.dataId);
    if (known) return known;
    const { shape, dataId } = tensor;
    const dtype = tensor.dtype as DType;
    const weight = this.capturable.get(dataId);
    const values = this.written.has(dataId) ? this.backend.tensorMap.get(dataId)?.values : undefined;
    if (!weight && !values) {
      throw new Florence2Error(
        `The function uses a tensor [${shape}] that is neither its input nor one of the given weights.`,
        { code: 'BACKEND' },
      );
    }
    const node = weight ? placeholder({ shape, dtype }) : constant({ shape, dtype, values: values! });
    if (weight) this.captured.set(weight, node);
    const output = { node, index: 0 };
    this.outputs.set(dataId, output);
    return output;
  }

  private attribute({ name, type, value }: OpAttribute): Attribute {
    const { binding } = this.backend;
    switch (type) {
      case binding.TF_ATTR_TYPE:
        return { name, type: 'type', value: typeOf(value as number) };
      case binding.TF_ATTR_INT:
        return { name, type: 'int', value: value as number | number[] };
      case binding.TF_ATTR_FLOAT:
        return { name, type: 'float', value: value as number };
      case binding.TF_ATTR_BOOL:
        return { name, type: 'bool', value: value as boolean };
      case binding.TF_ATTR_STRING:
        return { name, type: 'string', value: value as string };
      default:
        throw new Florence2Error(`The type of the TensorFlow attribute "${name}" is not supported in graphs.`, {
          code: 'BACKEND',
        });
    }
  }
}

function typeOf(code: number): DType {
  const known = (Object.keys(DATA_TYPES) as DType[]).find(dtype => DATA_TYPES[dtype] === code);
  if (!known)
    throw new Florence2Error(`TensorFlow's data type ${code} is not supported in graphs.`, { code: 'BACKEND' });
  return known;
}

export const placeholder = (spec: TensorSpec): GraphNode => ({
  op: 'Placeholder',
  attributes: [{ name: 'dtype', type: 'type', value: spec.dtype }],
  inputs: [],
  outputs: [spec],
});
