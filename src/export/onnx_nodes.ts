import type * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { attributeOf, constantOf, type DType, type GraphNode, type Output, specOf } from '../runtime/graph/nodes.ts';
import { inputsOf, operation, type Rule } from '../runtime/graph/patterns.ts';
import { type OnnxAttribute, type OnnxNode, type OnnxWeights, ZERO } from './onnx_weights.ts';

/** Codes of types in onnx.proto. int32 is INT64 everywhere, the type of ids and sizes in ONNX. */
export const ONNX_TYPES: Partial<Record<DType, number>> = { float32: 1, int32: 7, bool: 9 };

export const int = (name: string, i: number): OnnxAttribute => ({ name, type: 2, i });
const ints = (name: string, ints: number[]): OnnxAttribute => ({ name, type: 7, ints });

/**
 * Applies a linear layer to all axes but the last at once: ONNX's MatMul takes more than two, so that the reshapes to
 * rows and back, which need the open sizes, are left out.
 */
export const linearOfRows: Rule = y => {
  const [sum] = inputsOf(y, 'Reshape') ?? [];
  const [product, bias] = inputsOf(sum, 'Add') ?? [sum];
  const [rows, weight] = inputsOf(product, 'BatchMatMulV2') ?? [];
  const [x] = inputsOf(rows, 'Reshape') ?? [];
  if (!x || specOf(weight!).shape.length !== 2 || attributeOf(product!.node, 'adj_x')) return undefined;
  const [{ shape: from }, { shape: to, dtype }] = [specOf(x), specOf(y)];
  if (from.at(-1) !== specOf(rows!).shape[1] || String(from.slice(0, -1)) !== String(to.slice(0, -1))) return undefined;
  const result = operation('BatchMatMulV2', [x, weight!], { shape: to, dtype }, product!.node.attributes);
  return bias ? operation('Add', [result, bias], { shape: to, dtype }, []) : result;
};

/** Translates the nodes of a recorded graph into nodes of an ONNX graph. */
export class OnnxNodes {
  readonly nodes: OnnxNode[] = [];
  private readonly names = new Map<GraphNode, string[]>();

  /**
   * @param prefix of the names of values, which must differ between a graph and the graphs in it
   * @param weights receives the constants. Graphs in a graph share those of the outer one
   */
  constructor(
    private readonly prefix: string,
    readonly weights: OnnxWeights,
  ) {}

  /** Gives a placeholder the name of an input or of another value. */
  name(node: GraphNode, name: string): void {
    this.names.set(node, [name]);
  }

  /** Makes a captured tensor a weight of the graph. */
  capture(node: GraphNode, tensor: tf.Tensor): void {
    this.captured.set(node, tensor);
  }
  private readonly captured = new Map<GraphNode, tf.Tensor>();

  /** Returns the name of an output, after adding the nodes that compute it. */
  nameOf({ node, index }: Output): string {
    let names = this.names.get(node);
    if (!names) {
      names = this.translate(node);
      this.names.set(node, names);
    }
    return names[index];
  }

  /** Adds a node with one output and returns the output's name. */
  add(opType: string, input: string[], attribute: OnnxAttribute[] = [], name = this.fresh()): string {
    this.nodes.push({ opType, input, output: [name], attribute });
    return name;
  }

  /** Adds a node with several outputs and returns their names. */
  addSeveral(opType: string, input: string[], count: number): string[] {
    const output = Array.from({ length: count }, (_, i) => `${this.fresh()}.${i}`);
    this.nodes.push({ opType, input, output, attribute: [] });
    return output;
  }

  /** Returns the name of a constant of integers: a list, or one number without axes. */
  integers(values: readonly number[] | number): string {
    const dims = typeof values === 'number' ? [] : [values.length];
    const list = BigInt64Array.from([values].flat(), BigInt);
    return this.weights.constant(dims, list);
  }

  /** The captured tensor that an output is, if it is one. */
  capturedBy({ node }: Output): tf.Tensor | undefined {
    return this.captured.get(node);
  }

  private translate(node: GraphNode): string[] {
    const captured = this.captured.get(node);
    if (captured) return [this.weights.float(captured)];
    const constant = constantOf({ node, index: 0 });
    if (constant) {
      const { shape, values, dtype } = constant;
      const list = dtype === 'float32' ? Float32Array.from(values) : BigInt64Array.from(Array.from(values), BigInt);
      return [this.weights.constant(shape, list)];
    }
    const translation = TRANSLATIONS[node.op];
    if (!translation) throw new Florence2Error(`The operation ${node.op} cannot be exported to ONNX.`);
    return [translation(this, node)].flat();
  }

  private fresh(): string {
    return `${this.prefix}${this.nodes.length}`;
  }
}

/** Adds the nodes of an operation and returns the names of its outputs. */
type Translation = (graph: OnnxNodes, node: GraphNode) => string | string[];

const plain =
  (opType: string): Translation =>
  (graph, { inputs }) =>
    graph.add(
      opType,
      inputs.map(input => graph.nameOf(input)),
    );

const numbers = (output: Output): number[] => Array.from(constantOf(output)!.values);

const TRANSLATIONS: Record<string, Translation> = {
  Add: (graph, node) => convolution(graph, node.inputs[0], node.inputs[1]) ?? plain('Add')(graph, node),
  Sub: plain('Sub'),
  Mul: plain('Mul'),
  Softmax: (graph, { inputs }) => graph.add('Softmax', [graph.nameOf(inputs[0])], [int('axis', -1)]),
  Florence2Gelu: plain('Gelu'),
  Florence2LayerNorm: (graph, { inputs, attributes }) =>
    graph.add(
      'LayerNormalization',
      inputs.map(input => graph.nameOf(input)),
      [int('axis', -1), { name: 'epsilon', type: 1, f: attributes[0].value as number }],
    ),
  Cast: (graph, { inputs, outputs }) =>
    graph.add('Cast', [graph.nameOf(inputs[0])], [int('to', ONNX_TYPES[outputs[0].dtype]!)]),
  Mean: (graph, { inputs: [x, axes], attributes: [keep] }) =>
    graph.add('ReduceMean', [graph.nameOf(x), graph.nameOf(axes)], [int('keepdims', Number(keep.value))]),
  Reshape: (graph, { inputs: [x, sizes], outputs: [{ shape }] }) =>
    String(specOf(x).shape) === String(shape)
      ? graph.nameOf(x)
      : graph.add('Reshape', [graph.nameOf(x), graph.nameOf(sizes)]),
  ExpandDims: (graph, { inputs: [x, axis] }) => graph.add('Unsqueeze', [graph.nameOf(x), graph.nameOf(axis)]),
  Transpose: (graph, { inputs: [x, order] }) =>
    graph.add('Transpose', [graph.nameOf(x)], [ints('perm', numbers(order))]),
  Tile: plain('Tile'),
  Slice: (graph, { inputs: [x, begin, size] }) => {
    const from = numbers(begin);
    const ends = numbers(size).map((count, axis) => (count === -1 ? END : from[axis] + count));
    return graph.add('Slice', [graph.nameOf(x), graph.integers(from), graph.integers(ends)]);
  },
  PadV2: (graph, { inputs: [x, paddings] }) => {
    const flat = numbers(paddings);
    const sides = [0, 1].flatMap(side => flat.filter((_, i) => i % 2 === side));
    return graph.add('Pad', [graph.nameOf(x), graph.integers(sides)]);
  },
  ConcatV2: (graph, { inputs }) => {
    const parts = inputs.slice(0, -1).map(input => graph.nameOf(input));
    return graph.add('Concat', parts, [int('axis', numbers(inputs.at(-1)!)[0])]);
  },
  Unpack: (graph, { inputs: [x], outputs, attributes: [axis] }) =>
    outputs.map((_, i) =>
      graph.add('Gather', [graph.nameOf(x), graph.integers(i)], [int('axis', axis.value as number)]),
    ),
  GatherV2: (graph, { inputs: [table, ids, axis] }) =>
    graph.add('Gather', [graph.nameOf(table), graph.nameOf(ids)], [int('axis', numbers(axis)[0])]),
  BatchMatMulV2: (graph, node) => {
    const matrix = graph.capturedBy(node.inputs[1]);
    if (graph.weights.dtype === 'q8' && matrix) return quantisedProduct(graph, node, matrix);
    const [a, b] = (['adj_x', 'adj_y'] as const).map((flag, i) =>
      attributeOf(node, flag) ? transposed(graph, node.inputs[i]) : graph.nameOf(node.inputs[i]),
    );
    return graph.add('MatMul', [a, b]);
  },
  Conv2D: (graph, node) => convolution(graph, { node, index: 0 })!,
  DepthwiseConv2dNative: (graph, node) => convolution(graph, { node, index: 0 })!,
};

/** The end of an axis, in ONNX's Slice. */
const END = 2 ** 31 - 1;

/** Returns the name of a tensor with its last two axes exchanged. Weights are stored that way. */
function transposed(graph: OnnxNodes, x: Output): string {
  const rank = specOf(x).shape.length;
  const order = [...Array(rank - 2).keys(), rank - 1, rank - 2];
  const weight = graph.capturedBy(x);
  return weight ? graph.weights.float(weight, order) : graph.add('Transpose', [graph.nameOf(x)], [ints('perm', order)]);
}

/** Multiplies with a matrix in 8 bits. ONNX Runtime fuses these nodes into one. */
function quantisedProduct(graph: OnnxNodes, node: GraphNode, tensor: tf.Tensor): string {
  const order = attributeOf(node, 'adj_y') ? [1, 0] : null;
  const [matrix, scales] = graph.weights.quantised(tensor, order);
  const [x, scale, zero] = graph.addSeveral('DynamicQuantizeLinear', [graph.nameOf(node.inputs[0])], 3);
  const sums = graph.add('MatMulInteger', [x, matrix, zero, graph.weights.constant([], Uint8Array.of(ZERO))]);
  return graph.add('Mul', [graph.add('Cast', [sums], [int('to', 1)]), graph.add('Mul', [scale, scales])]);
}

/** Translates a convolution of maps [B, H, W, C], with its padding and bias: ONNX's has maps [B, C, H, W]. */
function convolution(graph: OnnxNodes, { node }: Output, bias?: Output): string | undefined {
  if (node.op !== 'Conv2D' && node.op !== 'DepthwiseConv2dNative') return undefined;
  const isDepthwise = node.op !== 'Conv2D';
  const [input, filter] = node.inputs;
  const [padded, paddings] = inputsOf(input, 'PadV2') ?? [];
  const x = padded ?? input;
  const { shape } = specOf(filter);
  // SAME is only used with stride 1 and an odd kernel.
  const isSame = attributeOf(node, 'padding') === 'SAME';
  const sides = paddings ? numbers(paddings) : [0, 0, 0, 0, 0, 0];
  const pad = [0, 1].map(side => sides[2 + 2 * side] + (isSame ? (shape[side] - 1) / 2 : 0));
  const strides = (attributeOf(node, 'strides') as number[]).slice(1, 3);
  const image = graph.add('Transpose', [graph.nameOf(x)], [ints('perm', [0, 3, 1, 2])]);
  const weight = graph.weights.float(graph.capturedBy(filter)!, isDepthwise ? [2, 3, 0, 1] : [3, 2, 0, 1]);
  const result = graph.add(
    'Conv',
    [image, weight, ...(bias ? [graph.nameOf(bias)] : [])],
    [
      ints('kernel_shape', shape.slice(0, 2)),
      ints('strides', strides),
      ints('pads', [...pad, ...pad]),
      int('group', isDepthwise ? shape[2] : 1),
    ],
  );
  return graph.add('Transpose', [result], [ints('perm', [0, 2, 3, 1])]);
}
