import { type Attribute, attributeOf, constantOf, type GraphNode, integers, type Output, specOf } from './nodes.ts';

/** A rewrite rule: returns the replacement of an output, or undefined if it does not apply. */
export type Rule = (output: Output) => Output | undefined;

/**
 * Returns the graph after applying rules to every node, inputs first. Per node only the first matching rule applies.
 */
export function rewrite(outputs: readonly Output[], rules: readonly Rule[]): Output[] {
  const done = new Map<GraphNode, readonly Output[]>();
  const visit = ({ node, index }: Output): Output => {
    let rewritten = done.get(node);
    if (!rewritten) {
      const inputs = node.inputs.map(visit);
      const same = inputs.every(
        (input, i) => input.node === node.inputs[i].node && input.index === node.inputs[i].index,
      );
      rewritten = replaced(same ? node : { ...node, inputs }, rules);
      done.set(node, rewritten);
    }
    return rewritten[index];
  };
  return outputs.map(visit);
}

function replaced(node: GraphNode, rules: readonly Rule[]): readonly Output[] {
  for (const rule of rules) {
    const output = rule({ node, index: 0 });
    if (output) return [output];
  }
  return node.outputs.map((_, index) => ({ node, index }));
}

/** Returns the inputs of `output` if its operation is `op`. */
export function inputsOf(output: Output | undefined, op: string): readonly Output[] | undefined {
  return output?.node.op === op ? output.node.inputs : undefined;
}

/** Returns the inputs of `output` if its operation is `op` and its second input is the constant `value`. */
export function withConstant(output: Output | undefined, op: string, value: number): readonly Output[] | undefined {
  const inputs = inputsOf(output, op);
  return inputs && scalarOf(inputs[1]) === Math.fround(value) ? inputs : undefined;
}

/** Returns the value of a constant with one element. */
export function scalarOf(output: Output): number | undefined {
  const values = constantOf(output)?.values;
  return values?.length === 1 ? values[0] : undefined;
}

/** Returns the inputs of a mean over the last axis with keep_dims. */
export function meanOfLast(output: Output | undefined): readonly Output[] | undefined {
  const inputs = inputsOf(output, 'Mean');
  if (!inputs || !attributeOf(output!.node, 'keep_dims')) return undefined;
  return scalarOf(inputs[1]) === specOf(inputs[0]).shape.length - 1 ? inputs : undefined;
}

/** Returns the inputs of a product of two matrices. */
export function matricesOf(y: Output | undefined): readonly Output[] | undefined {
  const inputs = inputsOf(y, 'BatchMatMulV2');
  return inputs?.every(input => specOf(input).shape.length === 2) ? inputs : undefined;
}

/** Replaces the GELU of an output of `op`, reshaped or not, by `withGelu(output)`. */
export const geluOf =
  (op: string, withGelu: (product: Output) => Output): Rule =>
  y => {
    const x = argumentOfGelu(y);
    const product = x && (inputsOf(x, 'Reshape')?.[0] ?? x);
    if (product?.node.op !== op) return undefined;
    const joined = withGelu(product);
    return product === x ? joined : reshape(joined, specOf(y).shape);
  };

/** Returns x if y is the GELU of x: x · (1 + erf(x / √2)) / 2. */
function argumentOfGelu(y: Output): Output | undefined {
  const whole = inputsOf(y, 'Florence2Gelu');
  if (whole) return whole[0];
  const [weighted] = withConstant(y, 'Mul', 0.5) ?? [];
  const [twiceCdf, x] = inputsOf(weighted, 'Mul') ?? [];
  const [erf] = withConstant(twiceCdf, 'Add', 1) ?? [];
  const [inside] = inputsOf(erf, 'Erf') ?? [];
  const [same] = withConstant(inside, 'Mul', Math.SQRT1_2) ?? [];
  return x && same?.node === x.node && same.index === x.index ? x : undefined;
}

/** Returns the output of a new operation that has one. */
export function operation(
  op: string,
  inputs: readonly Output[],
  { shape, dtype }: Output['node']['outputs'][number],
  attributes: readonly Attribute[],
): Output {
  return { node: { op, inputs, attributes, outputs: [{ shape, dtype }] }, index: 0 };
}

/** Returns the output of a copy of its operation, with one attribute changed. */
export function withAttribute({ node, index }: Output, changed: Attribute): Output {
  const attributes = node.attributes.map(attribute => (attribute.name === changed.name ? changed : attribute));
  return { node: { ...node, attributes }, index };
}

/** Returns x reshaped. One size may be -1. */
export function reshape(x: Output, shape: readonly number[]): Output {
  const { dtype } = specOf(x);
  return operation('Reshape', [x, integers(shape)], { shape, dtype }, [
    { name: 'T', type: 'type', value: dtype },
    { name: 'Tshape', type: 'type', value: 'int32' },
  ]);
}
