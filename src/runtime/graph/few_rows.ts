import { attributeOf, constant, type Output, specOf } from './nodes.ts';
import { argumentOfGelu, behindReshape, inputsOf, operation, type Rule, reshape, scalarOf } from './patterns.ts';

/** What is registered by kernels/few_rows.cc. */
export const MAT_MUL = 'Florence2FewRowsMatMul';
const QUERIES = 'Florence2FewQueries';

/** No bias, no mask. */
const none: Output = { node: constant({ shape: [0], dtype: 'float32', values: new Float32Array() }), index: 0 };

/** x W or x Wᵀ of matrices */
const product: Rule = y => {
  const [x, weight] = inputsOf(y, 'BatchMatMulV2') ?? [];
  if (!x || ![x, weight!].every(input => specOf(input).shape.length === 2)) return undefined;
  if (attributeOf(y.node, 'adj_x')) return undefined;
  return matMul([x, weight!, none], y, attributeOf(y.node, 'adj_y') as boolean, false);
};

/** x W + b */
const linear: Rule = y => {
  const [unbiased, bias] = inputsOf(y, 'Add') ?? [];
  const [x, weight, before] = inputsOf(unbiased, MAT_MUL) ?? [];
  if (before?.node !== none.node || specOf(bias!).shape.length !== 1) return undefined;
  return matMul([x!, weight!, bias!], y, attributeOf(unbiased!.node, 'transposed') as boolean, false);
};

/** GELU of such a product */
const gelu: Rule = y => {
  const x = argumentOfGelu(y);
  const product = x && behindReshape(x);
  if (product?.node.op !== MAT_MUL) return undefined;
  const { inputs } = product.node;
  const joined = matMul(inputs, product, attributeOf(product.node, 'transposed') as boolean, true);
  return product === x ? joined : reshape(joined, specOf(y).shape);
};

function matMul(inputs: readonly Output[], y: Output, transposed: boolean, gelu: boolean): Output {
  return operation(MAT_MUL, inputs, specOf(y), [
    { name: 'T', type: 'type', value: specOf(inputs[1]).dtype },
    { name: 'transposed', type: 'bool', value: transposed },
    { name: 'gelu', type: 'bool', value: gelu },
  ]);
}

/** softmax(q · scale · kᵀ + mask) v, the mask being the same for all heads and queries */
const attention: Rule = z => {
  const [pattern, value] = inputsOf(z, 'BatchMatMulV2') ?? [];
  const [masked] = inputsOf(pattern, 'Softmax') ?? [];
  const [scores, mask] = inputsOf(masked, 'Add') ?? [masked, none];
  const [scaled, key] = inputsOf(scores, 'BatchMatMulV2') ?? [];
  const [query, factor] = inputsOf(scaled, 'Mul') ?? [];
  const scale = factor && scalarOf(factor);
  if (!query || scale === undefined || specOf(query).shape.length !== 4) return undefined;
  if (!attributeOf(scores!.node, 'adj_y') || attributeOf(z.node, 'adj_y')) return undefined;
  if (mask !== none && String(specOf(mask!).shape.slice(1, 3)) !== '1,1') return undefined;
  return operation(QUERIES, [query, key!, value!, mask!], specOf(z), [{ name: 'scale', type: 'float', value: scale }]);
};

/** Uses kernels that are made for the few rows of a decode step. */
export const fewRows: readonly Rule[] = [product, linear, gelu, attention];

/** Reads the weights of such products as halves [out, in], where `half` has them so. */
export const withHalfWeights =
  (half: (weight: Output, transposed: boolean) => Output | undefined): Rule =>
  y => {
    const [x, weight, bias] = inputsOf(y, MAT_MUL) ?? [];
    const halved = weight && half(weight, attributeOf(y.node, 'transposed') as boolean);
    return halved && matMul([x!, halved, bias!], y, true, attributeOf(y.node, 'gelu') as boolean);
  };
