import { attributeOf, constantOf, type DType, type GraphNode, inOrder, type Output, specOf } from './nodes.ts';

/** The instructions of kernels/program.cc, by their numbers there. */
const numbers = { matMul: 0, attention: 1, add: 2, layerNorm: 3, reshape: 4, concat: 5, gather: 6, transpose: 7 };

/** Gives the number of a value: -1 for no bias and no mask, which are empty constants, NaN for other constants. */
type Values = (value: Output) => number;

/** A graph as a list of instructions. */
export interface Program {
  /** What it reads, floats before halves before int32. */
  readonly inputs: readonly GraphNode[];
  /** How many of each type there are. */
  readonly counts: readonly number[];
  readonly code: Int32Array;
  /** The values that it gives back. */
  readonly values: Int32Array;
}

const types: readonly DType[] = ['float32', 'float16', 'int32'];

/**
 * A graph as instructions for one operation, Florence2Program. For graphs whose operations take less time than TensorFlow
 * takes to get from one to the next: a decode step of few rows.
 *
 * @returns undefined where the graph has an operation that there is no instruction for, computes with constants or gives
 *   something else than floats
 */
export function asProgram(outputs: readonly Output[]): Program | undefined {
  const nodes = inOrder(outputs);
  const placeholders = nodes.filter(({ op }) => op === 'Placeholder');
  const groups = types.map(type => placeholders.filter(({ outputs }) => outputs[0].dtype === type));
  const inputs = groups.flat();
  if (inputs.length < placeholders.length) return undefined;
  const places = new Map(inputs.map((node, i) => [node, i]));
  const values: Values = value => (constantOf(value)?.values.length === 0 ? -1 : (places.get(value.node) ?? NaN));
  const code: number[] = [];
  for (const node of nodes) {
    if (places.has(node) || node.op === 'Const') continue;
    const instruction = instructions[node.op]?.(node, values);
    if (!instruction || instruction.some(Number.isNaN)) return undefined;
    places.set(node, places.size);
    code.push(...instruction);
  }
  const given = outputs.map(values);
  if (!outputs.every((output, i) => specOf(output).dtype === 'float32' && given[i] >= 0)) return undefined;
  const counts = groups.map(({ length }) => length);
  return { inputs, counts, code: Int32Array.from(code), values: Int32Array.from(given) };
}

/** How an operation is written down; undefined for the forms of it that there is no instruction for. */
const instructions: Record<string, (node: GraphNode, values: Values) => number[] | undefined> = {
  Florence2FewRowsMatMul: (node, values) => {
    const flags = ['transposed', 'gelu'].map(name => Number(attributeOf(node, name)));
    return [numbers.matMul, ...node.inputs.map(values), ...flags];
  },
  Florence2Attention: (node, values) => [
    numbers.attention,
    ...node.inputs.map(values),
    bitsOf(attributeOf(node, 'scale') as number),
  ],
  Florence2LayerNorm: (node, values) => [
    numbers.layerNorm,
    ...node.inputs.map(values),
    bitsOf(attributeOf(node, 'epsilon') as number),
  ],
  Add: ({ inputs }, values) => {
    const [a, b] = inputs.map(input => specOf(input).shape.slice());
    while (b[0] === 1) b.shift(); // what is repeated over the leading axes of a
    const repeated = b.length <= a.length && b.every((size, i) => size === a[a.length - b.length + i]);
    return repeated ? [numbers.add, ...inputs.map(values)] : undefined;
  },
  Reshape: ({ inputs: [x], outputs: [{ shape }] }, values) => [numbers.reshape, values(x), shape.length, ...shape],
  ConcatV2: ({ inputs: [a, b, axis, ...more], outputs: [{ shape }] }, values) => {
    const along = constantOf(axis)?.values[0];
    if (along === undefined || more.length > 0) return undefined;
    return [numbers.concat, values(a), values(b), along < 0 ? along + shape.length : along];
  },
  GatherV2: (node, values) => {
    const [table, ids, axis] = node.inputs;
    if (constantOf(axis)!.values[0] !== 0 || attributeOf(node, 'batch_dims') !== 0) return undefined;
    return specOf(table).shape.length === 2 ? [numbers.gather, values(table), values(ids)] : undefined;
  },
  Transpose: ({ inputs: [x, permutation] }, values) => {
    const axes = Array.from(constantOf(permutation)!.values);
    return axes.length === 4 && axes[3] === 3 ? [numbers.transpose, values(x), 4, ...axes] : undefined;
  },
};

/** A number as it lies in memory in fp32. */
const bitsOf = (number: number): number => new Int32Array(Float32Array.of(number).buffer)[0];
