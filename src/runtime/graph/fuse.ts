import { type Attribute, attributeOf, constantOf, type DType, inferable, type Output, specOf } from './nodes.ts';
import {
  geluOf,
  inputsOf,
  matricesOf,
  meanOfLast,
  operation,
  type Rule,
  reshape,
  scalarOf,
  withAttribute,
} from './patterns.ts';

/** Removes casts to the same type and reshapes to the same shape. */
const unneeded: Rule = ({ node }) => {
  const [input] = node.inputs;
  const [{ shape, dtype }] = node.outputs;
  if (node.op === 'Cast') return specOf(input).dtype === dtype ? input : undefined;
  if (node.op !== 'Reshape') return undefined;
  return inferable(shape) && String(specOf(input).shape) === String(shape) ? input : undefined;
};

/** Joins a reshape of a reshape. */
const twice: Rule = output => {
  const [first] = inputsOf(output, 'Reshape') ?? [];
  const { shape } = specOf(output);
  if (first?.node.op !== 'Reshape' || !inferable(shape)) return undefined;
  return reshape(first.node.inputs[0], shape);
};

/** Turns a transpose that moves only axes of size 1 into a reshape: the order in memory stays the same. */
const unmoved: Rule = output => {
  const [x, permutation] = inputsOf(output, 'Transpose') ?? [];
  if (!x) return undefined;
  const axes = Array.from(constantOf(permutation!)!.values).filter(axis => specOf(x).shape[axis] !== 1);
  const { shape } = specOf(output);
  const sorted = axes.every((axis, i) => i === 0 || axes[i - 1] < axis);
  return sorted && inferable(shape) ? reshape(x, shape) : undefined;
};

/** x W + b, matrices. */
const linear: Rule = y => {
  const [product, bias] = inputsOf(y, 'Add') ?? [];
  const matrices = matricesOf(product);
  if (!matrices || specOf(bias!).shape.length !== 1) return undefined;
  const flag = (name: string, of: string): Attribute => {
    return { name, type: 'bool', value: attributeOf(product!.node, of) as boolean };
  };
  return operation('_FusedMatMul', [...matrices, bias!], specOf(y), [
    { name: 'T', type: 'type', value: 'float32' },
    flag('transpose_a', 'adj_x'),
    flag('transpose_b', 'adj_y'),
    { name: 'num_args', type: 'int', value: 1 },
    { name: 'fused_ops', type: 'string', value: ['BiasAdd'] },
  ]);
};

const gelu = geluOf('_FusedMatMul', product => {
  return withAttribute(product, { name: 'fused_ops', type: 'string', value: ['BiasAdd', 'GeluExact'] });
});

/** (x - mean) · rsqrt(variance + ε) · weight + bias, over the last axis. */
const layerNorm: Rule = y => {
  const [weighted, bias] = inputsOf(y, 'Add') ?? [];
  const [normal, weight] = inputsOf(weighted, 'Mul') ?? [];
  const [centred, scale] = inputsOf(normal, 'Mul') ?? [];
  const [shifted] = inputsOf(scale, 'Rsqrt') ?? [];
  const [variance, epsilon] = inputsOf(shifted, 'Add') ?? [];
  const [square] = meanOfLast(variance) ?? [];
  const [same] = inputsOf(square, 'Square') ?? [];
  const [x, mean] = inputsOf(centred, 'Sub') ?? [];
  const [whole] = meanOfLast(mean) ?? [];
  if (!x || same?.node !== centred!.node || whole?.node !== x.node) return undefined;
  const value = scalarOf(epsilon!);
  if (value === undefined) return undefined;
  const { shape } = specOf(x);
  const rows = shape.length > 3 ? reshape(x, [-1, shape.at(-1)!]) : x; // the kernel takes at most 3 axes
  const normed = operation('_MklLayerNorm', [rows, weight!, bias!], specOf(rows), [
    { name: 'T', type: 'type', value: 'float32' },
    { name: 'epsilon', type: 'float', value },
  ]);
  return rows === x ? normed : reshape(normed, shape);
};

/**
 * Fuses operations that TensorFlow has one kernel for: matrix products with bias and GELU, layer norms. TensorFlow's
 * own optimizer fuses some of them too, but does not recognise the sequences of operations that tfjs emits.
 */
export const fusions: readonly Rule[] = [unneeded, twice, unmoved, linear, gelu, layerNorm];

/**
 * Computes fused matrix products in bf16: TensorFlow rounds the inputs to 8 bits of mantissa and sums in fp32. An
 * activation that passes from one product to the next stays bf16.
 */
export const inBf16: Rule = y => {
  const inputs = inputsOf(y, '_FusedMatMul');
  if (!inputs || attributeOf(y.node, 'T') === 'bfloat16') return undefined;
  const { attributes } = withAttribute(y, { name: 'T', type: 'type', value: 'bfloat16' }).node;
  const { shape } = specOf(y);
  const rounded = operation('_FusedMatMul', inputs.map(inBf16Already), { shape, dtype: 'bfloat16' }, attributes);
  return cast(rounded, 'float32');
};

/** Returns x in bf16. If x was cast from bf16, possibly reshaped after that, returns the tensor before the cast. */
function inBf16Already(x: Output): Output {
  const [source] = inputsOf(x, 'Cast') ?? [];
  if (source && specOf(source).dtype === 'bfloat16') return source;
  const [reshaped] = inputsOf(x, 'Reshape') ?? [];
  const [inside] = inputsOf(reshaped, 'Cast') ?? [];
  if (inside && specOf(inside).dtype === 'bfloat16') return reshape(inside, specOf(x).shape);
  return cast(x, 'bfloat16');
}

const cast = (x: Output, dtype: DType): Output =>
  operation('Cast', [x], { shape: specOf(x).shape, dtype }, [
    { name: 'SrcT', type: 'type', value: specOf(x).dtype },
    { name: 'DstT', type: 'type', value: dtype },
    { name: 'Truncate', type: 'bool', value: false },
  ]);

/** Replaces equal constants by one, because each constant is an operation to run. */
export function sharedConstants(): Rule {
  const known = new Map<string, Output>();
  return output => {
    const constant = constantOf(output);
    if (!constant) return undefined;
    const key = `${constant.dtype} ${constant.shape} ${constant.values}`;
    const same = known.get(key);
    known.set(key, same ?? output);
    return same;
  };
}
