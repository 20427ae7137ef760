/** One TensorFlow operation of a graph, with the shapes and types of its outputs. */
export interface GraphNode {
  readonly op: string;
  readonly attributes: readonly Attribute[];
  readonly inputs: readonly Output[];
  readonly outputs: readonly TensorSpec[];
}

/** One output of an operation. */
export interface Output {
  readonly node: GraphNode;
  readonly index: number;
}

export interface TensorSpec {
  /** -1 is a size that differs from run to run. */
  readonly shape: readonly number[];
  readonly dtype: DType;
}

export type DType = 'float32' | 'float16' | 'bfloat16' | 'int32' | 'bool';

export type Attribute = { readonly name: string } & AttributeValue;

export type AttributeValue =
  | { readonly type: 'type'; readonly value: DType }
  | { readonly type: 'int'; readonly value: number | readonly number[] }
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string | readonly string[] }
  | { readonly type: 'tensor'; readonly value: Constant };

/** Values stored in a graph: axes, shapes, numbers. */
export interface Constant extends TensorSpec {
  readonly values: Float32Array | Int32Array | Uint8Array;
}

export const specOf = ({ node, index }: Output): TensorSpec => node.outputs[index];

/** Returns the value of a constant, or undefined for other operations. */
export function constantOf({ node }: Output): Constant | undefined {
  const attribute = node.op === 'Const' ? node.attributes[0] : undefined;
  return attribute?.type === 'tensor' ? attribute.value : undefined;
}

export function attributeOf(node: GraphNode, name: string): AttributeValue['value'] | undefined {
  return node.attributes.find(attribute => attribute.name === name)?.value;
}

export const constant = (value: Constant): GraphNode => ({
  op: 'Const',
  attributes: [
    { name: 'value', type: 'tensor', value },
    { name: 'dtype', type: 'type', value: value.dtype },
  ],
  inputs: [],
  outputs: [{ shape: value.shape, dtype: value.dtype }],
});

/** Returns an int32 constant, e.g. a shape. */
export const integers = (values: readonly number[]): Output => ({
  node: constant({ shape: [values.length], dtype: 'int32', values: Int32Array.from(values) }),
  index: 0,
});

/** Returns whether TensorFlow can infer a shape, i.e. at most one size is unknown. */
export const inferable = (shape: readonly number[]): boolean => shape.filter(size => size === -1).length < 2;

/** Returns the nodes that `outputs` depend on in topological order: each after its inputs. */
export function inOrder(outputs: readonly Output[]): GraphNode[] {
  const seen = new Set<GraphNode>();
  const visit = ({ node }: Output): void => {
    if (seen.has(node)) return;
    node.inputs.forEach(visit);
    seen.add(node); // a set keeps insertion order
  };
  outputs.forEach(visit);
  return [...seen];
}
