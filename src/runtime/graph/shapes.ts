import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../../errors.ts';
import { type AttributeValue, constantOf, type Output, specOf } from './nodes.ts';

type Shape = readonly number[];

/** An operation that has no node yet, because the shapes of its outputs are still unknown. */
export interface Operation {
  readonly op: string;
  readonly inputs: readonly Output[];
  attribute(name: string): AttributeValue['value'] | undefined;
}

/**
 * Infers the shapes of an operation's outputs.
 *
 * @throws Florence2Error if `rules` has no rule for the operation
 */
export function outputShapes(operation: Operation, count: number): Shape[] {
  const rule = rules[operation.op];
  if (!rule)
    throw new Florence2Error(`The output shape of TensorFlow's ${operation.op} is not supported in graphs.`, {
      code: 'BACKEND',
    });
  const shapes = rule(operation);
  if (shapes.length !== count) throw new Error(`${operation.op} has ${count} outputs, not ${shapes.length}.`);
  return shapes;
}

const shape = ({ inputs }: Operation, i: number): Shape => specOf(inputs[i]).shape;

/** Returns the values of a constant input, e.g. axes or sizes. */
function numbers({ op, inputs }: Operation, i: number): number[] {
  const constant = constantOf(inputs.at(i)!);
  if (!constant)
    throw new Florence2Error(`Input ${i} of TensorFlow's ${op} must be a constant, but the graph computes it.`, {
      code: 'BACKEND',
    });
  return Array.from(constant.values);
}

const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

const same = (operation: Operation): Shape[] => [shape(operation, 0)];

const broadcast = (operation: Operation): Shape[] => [
  tf.broadcast_util.assertAndGetBroadcastShape([...shape(operation, 0)], [...shape(operation, 1)]),
];

function reduced(operation: Operation): Shape[] {
  const x = shape(operation, 0);
  const axes = numbers(operation, 1).map(axis => positive(axis, x.length));
  if (operation.attribute('keep_dims')) return [x.map((size, axis) => (axes.includes(axis) ? 1 : size))];
  return [x.filter((_, axis) => !axes.includes(axis))];
}

function convolved(operation: Operation, outChannels: (filter: Shape) => number): Shape[] {
  const [B, ...size] = shape(operation, 0);
  const filter = shape(operation, 1);
  const strides = operation.attribute('strides') as number[];
  const sides = [0, 1].map(side => {
    const [stride, kernel] = [strides[1 + side], filter[side]];
    switch (operation.attribute('padding')) {
      case 'SAME':
        return Math.ceil(size[side] / stride);
      case 'VALID':
        return Math.ceil((size[side] - kernel + 1) / stride);
      default:
        throw new Florence2Error(`${operation.op} with explicit padding is not supported in graphs.`, {
          code: 'BACKEND',
        });
    }
  });
  return [[B, ...sides, outChannels(filter)]];
}

const rules: Record<string, (operation: Operation) => Shape[]> = {
  Add: broadcast,
  Sub: broadcast,
  Mul: broadcast,
  RealDiv: broadcast,
  Maximum: broadcast,
  Neg: same,
  Square: same,
  Sqrt: same,
  Rsqrt: same,
  Exp: same,
  Erf: same,
  Cast: same,
  Softmax: same,
  Florence2Attention: same,
  Florence2Gelu: same,
  Florence2LayerNorm: same,
  Mean: reduced,
  Sum: reduced,
  Max: reduced,
  Reshape: operation => {
    const size = tf.util.sizeFromShape([...shape(operation, 0)]);
    return [tf.util.inferFromImplicitShape(numbers(operation, 1), size)];
  },
  ExpandDims: operation => {
    const x = shape(operation, 0);
    const axis = positive(numbers(operation, 1)[0], x.length + 1);
    return [[...x.slice(0, axis), 1, ...x.slice(axis)]];
  },
  Transpose: operation => [numbers(operation, 1).map(axis => shape(operation, 0)[axis])],
  Tile: operation => {
    const multiples = numbers(operation, 1);
    return [shape(operation, 0).map((size, axis) => size * multiples[axis])];
  },
  Slice: operation => {
    const [begin, size] = [numbers(operation, 1), numbers(operation, 2)];
    return [shape(operation, 0).map((whole, axis) => (size[axis] === -1 ? whole - begin[axis] : size[axis]))];
  },
  PadV2: operation => {
    const paddings = numbers(operation, 1);
    return [shape(operation, 0).map((size, axis) => size + paddings[2 * axis] + paddings[2 * axis + 1])];
  },
  ConcatV2: operation => {
    const parts = operation.inputs.slice(0, -1).map(input => specOf(input).shape);
    const along = positive(numbers(operation, -1)[0], parts[0].length);
    const total = parts.reduce((sum, part) => sum + part[along], 0);
    return [parts[0].map((size, axis) => (axis === along ? total : size))];
  },
  Unpack: operation => {
    const x = shape(operation, 0);
    const along = positive(operation.attribute('axis') as number, x.length);
    return Array.from({ length: x[along] }, () => x.filter((_, axis) => axis !== along));
  },
  SplitV: operation => {
    const x = shape(operation, 0);
    const along = positive(numbers(operation, 2)[0], x.length);
    return numbers(operation, 1).map(size => x.map((whole, axis) => (axis === along ? size : whole)));
  },
  GatherV2: operation => {
    const [table, indices] = [shape(operation, 0), shape(operation, 1)];
    const axis = positive(numbers(operation, 2)[0], table.length);
    const shared = operation.attribute('batch_dims') as number;
    return [[...table.slice(0, axis), ...indices.slice(shared), ...table.slice(axis + 1)]];
  },
  BatchMatMulV2: operation => {
    const [a, b] = [shape(operation, 0), shape(operation, 1)];
    const rows = a.at(operation.attribute('adj_x') ? -1 : -2)!;
    const columns = b.at(operation.attribute('adj_y') ? -2 : -1)!;
    const leading = tf.broadcast_util.assertAndGetBroadcastShape(a.slice(0, -2), b.slice(0, -2));
    return [[...leading, rows, columns]];
  },
  Conv2D: operation => convolved(operation, filter => filter[3]),
  DepthwiseConv2dNative: operation => convolved(operation, filter => filter[2] * filter[3]),
};
