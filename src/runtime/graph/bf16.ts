import { attributeOf, type DType, type Output, specOf } from './nodes.ts';
import { inputsOf, operation, type Rule, reshape, withAttribute } from './patterns.ts';

/**
 * Products as TensorFlow computes them in bf16: their inputs rounded to 8 bits of mantissa, their sums kept in fp32. What
 * goes from one product to the next stays bf16.
 */
export const inBf16: Rule = y => {
  const inputs = inputsOf(y, '_FusedMatMul');
  if (!inputs || attributeOf(y.node, 'T') === 'bfloat16') return undefined;
  const { attributes } = withAttribute(y, { name: 'T', type: 'type', value: 'bfloat16' }).node;
  const { shape } = specOf(y);
  const rounded = operation('_FusedMatMul', inputs.map(inBf16Already), { shape, dtype: 'bfloat16' }, attributes);
  return cast(rounded, 'float32');
};

/** x rounded, or what it was before it was made fp32. */
function inBf16Already(x: Output): Output {
  const [made] = inputsOf(x, 'Cast') ?? [];
  if (made && specOf(made).dtype === 'bfloat16') return made;
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
