import { constantOf, type GraphNode, inferable, integers, type Output, specOf } from './nodes.ts';
import type { Recording } from './record.ts';

/**
 * Merges two recordings of one function, with inputs of different sizes, into one that is valid for inputs of any size.
 * Sizes in which they differ become -1.
 *
 * @param copies whether a reshape may copy sizes of its input, as in ONNX: 0 is the size of the same axis. TensorFlow only
 *   infers one size
 * @throws DependsOnSizeError if they differ in more than sizes that a reshape can infer or copy
 */
export function unify(a: Recording, b: Recording, copies = false): Recording {
  const done = new Map<GraphNode, GraphNode>();
  const outputOf = (a: Output, b: Output): Output => {
    if (a.index !== b.index) throw differs(a.node, b.node);
    return { node: nodeOf(a.node, b.node), index: a.index };
  };
  const nodeOf = (a: GraphNode, b: GraphNode): GraphNode => {
    let node = done.get(a);
    if (!node) {
      node = unifyNodes(a, b, outputOf, copies);
      done.set(a, node);
    }
    return node;
  };
  return {
    outputs: a.outputs.map((output, i) => outputOf(output, b.outputs[i])),
    inputs: a.inputs.map((input, i) => nodeOf(input, b.inputs[i])),
    captured: new Map([...a.captured].map(([tensor, node]) => [tensor, done.get(node) ?? node])),
  };
}

function unifyNodes(
  a: GraphNode,
  b: GraphNode,
  outputOf: (a: Output, b: Output) => Output,
  copies: boolean,
): GraphNode {
  if (a.op !== b.op || a.inputs.length !== b.inputs.length) throw differs(a, b);
  if (JSON.stringify(a.attributes) !== JSON.stringify(b.attributes)) throw differs(a, b);
  const outputs = a.outputs.map(({ shape, dtype }, i) => ({ shape: open(shape, b.outputs[i].shape), dtype }));
  const input = (i: number) => outputOf(a.inputs[i], b.inputs[i]);
  switch (a.op) {
    case 'Reshape': {
      const shape = copies ? withCopies(a, b) : outputs[0].shape;
      if (!inferable(shape)) throw differs(a, b);
      return { ...a, inputs: [input(0), integers(shape)], outputs };
    }
    case 'Slice': {
      const [size, other] = [toTheEnd(a), toTheEnd(b)];
      if (String(size) !== String(other)) throw differs(a, b);
      return { ...a, inputs: [input(0), input(1), integers(size)], outputs };
    }
    default:
      return { ...a, inputs: a.inputs.map((_, i) => input(i)), outputs };
  }
}

const open = (a: readonly number[], b: readonly number[]): number[] =>
  a.map((size, axis) => (size === b[axis] ? size : -1));

/** Returns the sizes of a reshape, with 0 for open sizes that the input has on the same axis. */
function withCopies(a: GraphNode, b: GraphNode): number[] {
  const [x, y] = [specOf(a.inputs[0]).shape, specOf(b.inputs[0]).shape];
  const [to, other] = [a.outputs[0].shape, b.outputs[0].shape];
  return open(to, other).map((size, axis) => {
    return size === -1 && to[axis] === x[axis] && other[axis] === y[axis] ? 0 : size;
  });
}

/** Returns the sizes of a slice, with -1 for axes in which it extends to the end. */
function toTheEnd({ inputs: [x, begin, size] }: GraphNode): number[] {
  const from = constantOf(begin)!.values;
  return Array.from(constantOf(size)!.values, (count, axis) =>
    from[axis] + count === specOf(x).shape[axis] ? -1 : count,
  );
}

/** A function's operations depend on the sizes of its inputs, so that one graph cannot serve all sizes. */
export class DependsOnSizeError extends Error {
  override readonly name = 'DependsOnSizeError';
}

const differs = (a: GraphNode, b: GraphNode): Error =>
  new DependsOnSizeError(
    `No graph can be compiled for inputs of any size: ${a.op} depends on their size (${describe(a)}, ${describe(b)}).`,
  );

const describe = ({ op, outputs }: GraphNode): string => `${op} -> [${outputs[0].shape}]`;
