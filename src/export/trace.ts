import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { onBackend } from '../nn/on_backend.ts';
import {
  type Attribute,
  constant,
  type DType,
  type GraphNode,
  integers,
  type Output,
  type TensorSpec,
} from '../runtime/graph/nodes.ts';
import { placeholder, type Recording } from '../runtime/graph/record.ts';
import { outputShapes } from '../runtime/graph/shapes.ts';

/**
 * Records the operations that `fn` applies to inputs of these shapes, as `record` does, but on every machine: `fn` runs
 * on a backend whose tensors have shapes and no values. Layer norms and GELUs are single operations.
 *
 * @param mayCapture the tensors that `fn` may use in addition to its inputs, of any backend
 * @throws Florence2Error if `fn` uses another tensor, or an operation that `KERNELS` does not have
 */
export function trace(
  fn: (...inputs: tf.Tensor[]) => readonly tf.Tensor[],
  inputs: readonly TensorSpec[],
  mayCapture: readonly tf.Tensor[],
): Recording {
  const backend = new SymbolicBackend(mayCapture);
  tf.registerBackend(NAME, () => backend);
  tf.findBackend(NAME); // creates it
  registerKernels();
  try {
    let recording: Recording;
    onBackend(NAME, () => {
      tf.tidy(() => {
        recording = backend.run(fn, inputs);
      });
    });
    return recording!;
  } finally {
    tf.removeBackend(NAME);
  }
}

const NAME = 'florence2-symbolic';

function registerKernels(): void {
  for (const [kernelName, kernel] of Object.entries(KERNELS)) {
    if (tf.getKernel(kernelName, NAME)) continue;
    const kernelFunc = ({ inputs, attrs, backend }: { inputs: object; attrs?: object; backend: unknown }) =>
      (backend as SymbolicBackend).compute(kernel(Object.values(inputs), (attrs ?? {}) as Attrs));
    tf.registerKernel({ kernelName, backendName: NAME, kernelFunc: kernelFunc as tf.KernelFunc });
  }
}

/** Attributes of a kernel. tfjs has checked them. */
type Attrs = Readonly<Record<string, never>>;

/** A TensorFlow operation that a kernel of tfjs stands for. */
interface Translation {
  readonly op: string;
  readonly inputs: readonly (tf.TensorInfo | Output)[];
  readonly attributes?: readonly Attribute[];
  /** Of the outputs. Default: that of the first input. */
  readonly dtype?: DType;
  /** Number of outputs. Undefined: one, which is not a list. */
  readonly count?: number;
}

type Kernel = (inputs: tf.TensorInfo[], attrs: Attrs) => Translation;

const same =
  (op: string): Kernel =>
  inputs => ({ op, inputs });

const ints = (name: string, value: readonly number[] | number): Attribute => ({ name, type: 'int', value });
const flag = (name: string, value: boolean): Attribute => ({ name, type: 'bool', value });
const text = (name: string, value: string): Attribute => ({ name, type: 'string', value });

/** Strides and padding of a convolution. */
const sliding = ({ strides, pad }: Attrs): Attribute[] => {
  const [rows, columns] = [strides].flat(2) as number[];
  return [ints('strides', [1, rows, columns ?? rows, 1]), text('padding', String(pad).toUpperCase())];
};

/** The kernels of tfjs that the model uses on a backend with our kernels for layer norms and GELUs. */
const KERNELS: Record<string, Kernel> = {
  Add: same('Add'),
  Sub: same('Sub'),
  Multiply: same('Mul'),
  Identity: same('Identity'),
  Softmax: same('Softmax'),
  Florence2Gelu: same('Florence2Gelu'),
  Florence2LayerNorm: (inputs, { epsilon }) => ({
    op: 'Florence2LayerNorm',
    inputs,
    attributes: [{ name: 'epsilon', type: 'float', value: epsilon }],
  }),
  Cast: (inputs, { dtype }) => ({
    op: 'Cast',
    inputs,
    attributes: [{ name: 'DstT', type: 'type', value: dtype }],
    dtype,
  }),
  Mean: ([x], { axis, keepDims }) => ({
    op: 'Mean',
    inputs: [x, integers(tf.util.parseAxisParam(axis, x.shape))],
    attributes: [flag('keep_dims', keepDims)],
  }),
  Reshape: ([x], { shape }) => ({
    op: 'Reshape',
    inputs: [x, integers(tf.util.inferFromImplicitShape(shape, tf.util.sizeFromShape(x.shape)))],
  }),
  ExpandDims: ([x], { dim }) => ({ op: 'ExpandDims', inputs: [x, integers([dim])] }),
  Transpose: ([x], { perm }) => ({ op: 'Transpose', inputs: [x, integers(perm)] }),
  Tile: ([x], { reps }) => ({ op: 'Tile', inputs: [x, integers(reps)] }),
  Slice: ([x], { begin, size }) => ({
    op: 'Slice',
    inputs: [x, ...tf.slice_util.parseSliceParams(x as tf.Tensor, begin, size).map(integers)],
  }),
  PadV2: ([x], { paddings }) => ({ op: 'PadV2', inputs: [x, integers((paddings as number[][]).flat())] }),
  Concat: (inputs, { axis }) => ({ op: 'ConcatV2', inputs: [...inputs, integers([axis])] }),
  Unpack: ([x], { axis }) => ({ op: 'Unpack', inputs: [x], attributes: [ints('axis', axis)], count: x.shape[axis] }),
  GatherV2: (inputs, { axis, batchDims }) => ({
    op: 'GatherV2',
    inputs: [...inputs, integers([axis])],
    attributes: [ints('batch_dims', batchDims)],
  }),
  BatchMatMul: (inputs, { transposeA, transposeB }) => ({
    op: 'BatchMatMulV2',
    inputs,
    attributes: [flag('adj_x', transposeA), flag('adj_y', transposeB)],
  }),
  Conv2D: (inputs, attrs) => ({ op: 'Conv2D', inputs, attributes: sliding(attrs) }),
  DepthwiseConv2dNative: (inputs, attrs) => ({ op: 'DepthwiseConv2dNative', inputs, attributes: sliding(attrs) }),
};

/** A backend of tfjs that keeps a node of a graph for each tensor. */
class SymbolicBackend extends tf.KernelBackend {
  private readonly outputs = new Map<object, Output>();
  private readonly capturable: ReadonlyMap<object, tf.Tensor>;
  private readonly captured = new Map<tf.Tensor, GraphNode>();

  constructor(mayCapture: readonly tf.Tensor[]) {
    super();
    this.capturable = new Map(mayCapture.map(tensor => [tensor.dataId, tensor]));
  }

  run(fn: (...inputs: tf.Tensor[]) => readonly tf.Tensor[], specs: readonly TensorSpec[]): Recording {
    const inputs = specs.map(placeholder);
    const tensors = inputs.map(node => tf.engine().makeTensorFromTensorInfo(this.symbol({ node, index: 0 })));
    const outputs = fn(...tensors).map(tensor => this.outputOf(tensor));
    return { inputs, outputs, captured: this.captured };
  }

  compute({ op, inputs: given, attributes = [], dtype, count }: Translation): tf.TensorInfo | tf.TensorInfo[] {
    const inputs = given.map(input => ('node' in input ? input : this.outputOf(input)));
    const attribute = (name: string) => attributes.find(attribute => attribute.name === name)?.value;
    const shapes = op === 'Identity' ? [specShape(inputs[0])] : outputShapes({ op, inputs, attribute }, count ?? 1);
    const type = dtype ?? inputs[0].node.outputs[inputs[0].index].dtype;
    const outputs = shapes.map(shape => ({ shape, dtype: type }));
    const node: GraphNode = { op, attributes, inputs, outputs };
    const symbols = outputs.map((_, index) => this.symbol(op === 'Identity' ? inputs[0] : { node, index }));
    return count === undefined ? symbols[0] : symbols;
  }

  override write(values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): tf.DataId {
    const node = constant({ shape, dtype: dtype as DType, values: values as Float32Array | Int32Array });
    return this.symbol({ node, index: 0 }).dataId;
  }

  override numDataIds = (): number => this.outputs.size;
  override disposeData = (): boolean => true;
  override incRef = (): void => {};
  override refCount = (): number => 1;
  override floatPrecision = (): 32 => 32;
  override epsilon = (): number => 1e-7;
  override dispose = (): void => {};

  private symbol(output: Output): tf.TensorInfo {
    const dataId = {};
    this.outputs.set(dataId, output);
    const { shape, dtype } = output.node.outputs[output.index];
    return { dataId, shape: [...shape], dtype: dtype as tf.DataType };
  }

  private outputOf({ dataId, shape, dtype }: tf.TensorInfo): Output {
    const known = this.outputs.get(dataId);
    if (known) return known;
    const weight = this.capturable.get(dataId);
    if (!weight) {
      throw new Florence2Error(`The function uses a tensor [${shape}] that is neither its input nor a given weight.`);
    }
    const node = placeholder({ shape: weight.shape, dtype: dtype as DType });
    this.captured.set(weight, node);
    const output = { node, index: 0 };
    this.outputs.set(dataId, output);
    return output;
  }
}

const specShape = ({ node, index }: Output): readonly number[] => node.outputs[index].shape;
