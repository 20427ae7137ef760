import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { asBytes, narrowFromFloat32, toInt32, widenToFloat32 } from '../../src/weights/dtypes.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { hasReference, reference } from '../reference.ts';

/** Returns the value of a floating point number from its bits, by the definition of the format. */
function decode(bits: number, exponentBits: number, mantissaBits: number): number {
  const sign = bits >> (exponentBits + mantissaBits) ? -1 : 1;
  const exponent = (bits >> mantissaBits) & (2 ** exponentBits - 1);
  const fraction = (bits & (2 ** mantissaBits - 1)) / 2 ** mantissaBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

const formats = [
  { dtype: 'F16', exponentBits: 5, mantissaBits: 10 },
  { dtype: 'BF16', exponentBits: 8, mantissaBits: 7 },
] as const;

for (const { dtype, exponentBits, mantissaBits } of formats) {
  const all = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
  const values = new Float32Array(65536);
  widenToFloat32(asBytes(all), dtype, values);

  test(`all 65,536 values of ${dtype} are read exactly`, () => {
    for (let bits = 0; bits < 65536; bits++) {
      const expected = decode(bits, exponentBits, mantissaBits);
      assert.ok(Object.is(values[bits], expected), `0x${bits.toString(16)} is ${expected}, read as ${values[bits]}`);
    }
  });

  test(`all values of ${dtype} are written back unchanged`, () => {
    const written = new Uint16Array(narrowFromFloat32(values, dtype).buffer);
    for (let bits = 0; bits < 65536; bits++) {
      if (!Number.isNaN(values[bits])) assert.is(written[bits], bits, `${values[bits]}`);
      else assert.ok(Number.isNaN(decode(written[bits], exponentBits, mantissaBits)), `0x${bits.toString(16)}`);
    }
  });

  test(`fp32 is rounded to the nearest ${dtype}, ties to even`, () => {
    // Between each pair of neighbours: just below the middle, the middle, and just above it.
    const above = 2 ** (exponentBits + mantissaBits) - 2 ** mantissaBits; // bits of infinity
    for (let bits = 0; bits + 1 < above; bits++) {
      const middle = (values[bits] + values[bits + 1]) / 2;
      const triple = Float32Array.of(middle, middle, middle);
      const words = new Uint32Array(triple.buffer);
      words[0]--;
      words[2]++;
      if (middle === 0 || triple[1] !== middle) continue; // the middle of fp32's smallest numbers is not an fp32
      const [below, half, over] = new Uint16Array(narrowFromFloat32(triple, dtype).buffer);
      const even = bits % 2 === 0 ? bits : bits + 1;
      const what = `between ${values[bits]} and ${values[bits + 1]}`;
      assert.equal([below, half, over], [bits, even, bits + 1], what);
      const negative = new Uint16Array(
        narrowFromFloat32(
          triple.map(x => -x),
          dtype,
        ).buffer,
      );
      assert.equal(
        [...negative],
        [below, half, over].map(x => x | 0x8000),
        `-${what}`,
      );
    }
  });
}

test('fp16 overflows to infinity from 65,520 on', () => {
  const written = new Uint16Array(
    narrowFromFloat32(Float32Array.of(65519.996, 65520, -1e30, 2 ** -25, 2 ** -26), 'F16').buffer,
  );
  assert.equal([...written], [0x7bff, 0x7c00, 0xfc00, 0, 0]);
});

test('integers, booleans and doubles are converted', () => {
  const out = new Float32Array(3);
  const cases = [
    ['I64', BigInt64Array.of(-1n, 2n ** 40n, 7n), [-1, 2 ** 40, 7]],
    ['I32', Int32Array.of(-1, 2 ** 30, 7), [-1, 2 ** 30, 7]],
    ['I16', Int16Array.of(-1, 300, 7), [-1, 300, 7]],
    ['I8', Int8Array.of(-1, 127, 7), [-1, 127, 7]],
    ['U8', Uint8Array.of(255, 0, 7), [255, 0, 7]],
    ['BOOL', Uint8Array.of(1, 0, 1), [1, 0, 1]],
    ['F64', Float64Array.of(0.1, -1e300, 7), [Math.fround(0.1), Number.NEGATIVE_INFINITY, 7]],
  ] as const;
  for (const [dtype, values, expected] of cases) {
    widenToFloat32(asBytes(values), dtype, out);
    assert.equal([...out], [...expected], dtype);
  }
  const integers = new Int32Array(3);
  assert.is(toInt32(asBytes(BigInt64Array.of(-1n, 2n ** 31n - 1n, -(2n ** 31n))), 'I64', integers), -1);
  assert.equal([...integers], [-1, 2 ** 31 - 1, -(2 ** 31)]);
  for (const misfit of [2n ** 31n, -(2n ** 31n) - 1n, 2n ** 32n, 2n ** 62n]) {
    assert.is(toInt32(asBytes(BigInt64Array.of(0n, misfit, 0n)), 'I64', integers), 1, String(misfit));
  }
});

if (hasReference('model/tiny/microsoft-fp16/model.safetensors')) {
  test("fp32 is rounded to fp16 as by PyTorch's .half()", async () => {
    const full = await openSafetensors(reference('model/tiny/microsoft/model.safetensors'));
    const half = await openSafetensors(reference('model/tiny/microsoft-fp16/model.safetensors'));
    for (const name of full.tensors.keys()) {
      const narrowed = narrowFromFloat32(await full.readFloat32(name), 'F16');
      const ours = new Float32Array(narrowed.length / 2);
      widenToFloat32(narrowed, 'F16', ours);
      assert.equal(ours, await half.readFloat32(name), name);
    }
    await full.close();
    await half.close();
  });
}

test.run();
