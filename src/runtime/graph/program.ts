import { attributeOf, constantOf, type DType, type GraphNode, inOrder, type Output, specOf } from './nodes.ts';

/** Opcodes of kernels/program.cc. */
const OPCODES = { matMul: 0, attention: 1, add: 2, layerNorm: 3, reshape: 4, concat: 5, gather: 6, transpose: 7 };

/** Returns the number of a value: -1 for an empty constant (no bias, no mask), NaN for other constants. */
type Values = (value: Output) => number;

/**
 * Returns the numbers of the one or two values that keys or values consist of. For one value, the second number is -1.
 */
type Parts = (value: Output) => number[];

/** A graph as a list of instructions for kernels/program.cc. */
export interface Program {
  /** Placeholders: fp32, then fp16, then int32. */
  readonly inputs: readonly GraphNode[];
  /** Number of inputs of each type, in the same order. */
  readonly counts: readonly number[];
  readonly code: Int32Array;
  /** Numbers of the values that are the outputs. */
  readonly values: Int32Array;
}

const INPUT_TYPES: readonly DType[] = ['float32', 'float16', 'int32'];

/**
 * Translates a graph into instructions for our operation Florence2Program. This pays off if TensorFlow's overhead per
 * operation exceeds the operations' own time, as in a decode step with few rows.
 *
 * @returns undefined if an operation has no instruction, reads a non-empty constant, or an output is not fp32
 */
export function asProgram(outputs: readonly Output[]): Program | undefined {
  const nodes = inOrder(outputs);
  const placeholders = nodes.filter(({ op }) => op === 'Placeholder');
  const groups = INPUT_TYPES.map(type => placeholders.filter(({ outputs }) => outputs[0].dtype === type));
  const inputs = groups.flat();
  if (inputs.length < placeholders.length) return undefined;
  const places = new Map(inputs.map((node, i) => [node, i]));
  const values: Values = value => (constantOf(value)?.values.length === 0 ? -1 : (places.get(value.node) ?? NaN));
  const apart = readInParts(nodes, outputs);
  const parts: Parts = value => {
    return apart.has(value.node) ? value.node.inputs.slice(0, 2).map(values) : [values(value), -1];
  };
  const code: number[] = [];
  for (const node of nodes) {
    if (places.has(node) || node.op === 'Const' || apart.has(node)) continue;
    const instruction = INSTRUCTIONS[node.op]?.(node, values, parts);
    if (!instruction || instruction.some(Number.isNaN)) return undefined;
    places.set(node, places.size);
    code.push(...instruction);
  }
  const given = outputs.map(values);
  if (!outputs.every((output, i) => specOf(output).dtype === 'float32' && given[i] >= 0)) return undefined;
  const counts = groups.map(({ length }) => length);
  return { inputs, counts, code: Int32Array.from(code), values: Int32Array.from(given) };
}

/**
 * Returns the concatenations that only attention reads, as keys or values: it reads their parts without joining them.
 */
function readInParts(nodes: readonly GraphNode[], outputs: readonly Output[]): ReadonlySet<GraphNode> {
  const joined = nodes.filter(({ op, inputs }) => op === 'ConcatV2' && inputs.length === 3 && alongOf(inputs) === 2);
  const apart = new Set(joined);
  for (const { node } of outputs) apart.delete(node);
  for (const { op, inputs } of nodes)
    inputs.forEach(({ node }, i) => {
      if (!(op === 'Florence2Attention' && (i === 1 || i === 2))) apart.delete(node);
    });
  return apart;
}

/** The axis of a ConcatV2. */
const alongOf = (inputs: readonly Output[]): number | undefined => constantOf(inputs.at(-1)!)?.values[0];

/** Encodes operations as instructions; undefined for variants that have none. */
const INSTRUCTIONS: Record<string, (node: GraphNode, values: Values, parts: Parts) => number[] | undefined> = {
  Florence2FewRowsMatMul: (node, values) => {
    const flags = ['transposed', 'gelu'].map(name => Number(attributeOf(node, name)));
    return [OPCODES.matMul, ...node.inputs.map(values), ...flags];
  },
  Florence2Attention: (node, values, parts) => [
    OPCODES.attention,
    ...[values(node.inputs[0]), ...parts(node.inputs[1]), ...parts(node.inputs[2]), values(node.inputs[3])],
    bitsOf(attributeOf(node, 'scale') as number),
  ],
  Florence2LayerNorm: (node, values) => [
    OPCODES.layerNorm,
    ...node.inputs.map(values),
    bitsOf(attributeOf(node, 'epsilon') as number),
  ],
  Add: ({ inputs }, values) => {
    const [a, b] = inputs.map(input => specOf(input).shape.slice());
    while (b[0] === 1) b.shift(); // b is broadcast over the leading axes of a
    const repeated = b.length <= a.length && b.every((size, i) => size === a[a.length - b.length + i]);
    return repeated ? [OPCODES.add, ...inputs.map(values)] : undefined;
  },
  Reshape: ({ inputs: [x], outputs: [{ shape }] }, values) => [OPCODES.reshape, values(x), shape.length, ...shape],
  ConcatV2: ({ inputs, outputs: [{ shape }] }, values) => {
    const along = alongOf(inputs);
    if (along === undefined || inputs.length !== 3) return undefined;
    const [a, b] = inputs.map(values);
    return [OPCODES.concat, a, b, along < 0 ? along + shape.length : along];
  },
  GatherV2: (node, values) => {
    const [table, ids, axis] = node.inputs;
    if (constantOf(axis)!.values[0] !== 0 || attributeOf(node, 'batch_dims') !== 0) return undefined;
    return specOf(table).shape.length === 2 ? [OPCODES.gather, values(table), values(ids)] : undefined;
  },
  Transpose: ({ inputs: [x, permutation] }, values) => {
    const axes = Array.from(constantOf(permutation)!.values);
    return axes.length === 4 && axes[3] === 3 ? [OPCODES.transpose, values(x), 4, ...axes] : undefined;
  },
};

/** Returns the bits of a number in fp32. */
const bitsOf = (number: number): number => new Int32Array(Float32Array.of(number).buffer)[0];
