import { attributeOf, constant, type Output, specOf } from './nodes.ts';
import { geluOf, inputsOf, matricesOf, operation, type Rule, withAttribute } from './patterns.ts';

/** The operation of kernels/few_rows.cc. */
const MAT_MUL = 'Florence2FewRowsMatMul';

/** An empty bias. */
const NO_BIAS: Output = { node: constant({ shape: [0], dtype: 'float32', values: new Float32Array() }), index: 0 };

/** x W or x Wᵀ, matrices. */
const product: Rule = y => {
  const matrices = matricesOf(y);
  if (!matrices || attributeOf(y.node, 'adj_x')) return undefined;
  return operation(MAT_MUL, [...matrices, NO_BIAS], specOf(y), [
    { name: 'T', type: 'type', value: 'float32' },
    { name: 'transposed', type: 'bool', value: attributeOf(y.node, 'adj_y') as boolean },
    { name: 'gelu', type: 'bool', value: false },
  ]);
};

/** x W + b. */
const linear: Rule = y => {
  const [unbiased, bias] = inputsOf(y, 'Add') ?? [];
  const [x, weight, before] = inputsOf(unbiased, MAT_MUL) ?? [];
  if (before?.node !== NO_BIAS.node || specOf(bias!).shape.length !== 1) return undefined;
  return operation(MAT_MUL, [x!, weight!, bias!], specOf(y), unbiased!.node.attributes);
};

const gelu = geluOf(MAT_MUL, product => withAttribute(product, { name: 'gelu', type: 'bool', value: true }));

/** Replaces matrix products by our kernel for the few rows of a decode step. */
export const fewRows: readonly Rule[] = [product, linear, gelu];

/**
 * Replaces the weights of these products by the fp16 copies [out, in] that `half` returns; undefined keeps the weight.
 */
export const withHalfWeights =
  (half: (weight: Output, transposed: boolean) => Output | undefined): Rule =>
  y => {
    const [x, weight, bias] = inputsOf(y, MAT_MUL) ?? [];
    const halved = weight && half(weight, attributeOf(y.node, 'transposed') as boolean);
    if (!halved) return undefined;
    const turned = withAttribute(y, { name: 'transposed', type: 'bool', value: true });
    const { attributes } = withAttribute(turned, { name: 'T', type: 'type', value: 'float16' }).node;
    return operation(MAT_MUL, [x!, halved, bias!], specOf(y), attributes);
  };
