import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { beyondHalf, OnnxWeights, type StoredWeight, storedParts } from '../../src/export/onnx_weights.ts';
import { withoutLeaks } from '../backend.ts';

async function stored(weight: StoredWeight): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of storedParts(weight)) parts.push(part.slice());
  return new Uint8Array(Buffer.concat(parts));
}

const floats = ({ buffer }: Uint8Array): number[] => Array.from(new Float32Array(buffer));

// The largest magnitudes of the columns are 2 and 127, so that their steps are 2/127 and 1.
const matrix = [
  [2, -2],
  [-0.5, 127],
  [0, 0.4],
];
const bytes = [255, 126, 96, 255, 128, 128];

test('8-bit weights have one scale for each column; 128 is zero', () =>
  withoutLeaks(async () => {
    const tensor = tf.tensor2d(matrix);
    const [got, scales] = [await stored({ tensor, order: null, format: 'uint8' }), await stored({ tensor, order: null, format: 'scales' })]; // biome-ignore format: one line
    assert.equal([...got], bytes);
    assert.equal(floats(scales), [Math.fround(2 / 127), 1]);
    const rows = tf.transpose(tensor);
    assert.equal([...(await stored({ tensor: rows, order: [1, 0], format: 'uint8' }))], bytes, 'stored as [out, in]');
    tf.dispose([tensor, rows]);
  }));

test('weights larger than a part are the same, with their axes in another order', () =>
  withoutLeaks(async () => {
    const [rows, columns] = [2100, 3000]; // 25 MB in parts of 16
    const tensor = tf.tidy(() => tf.reshape(tf.range(0, rows * columns), [rows, columns]));
    const got = floats(await stored({ tensor, order: [1, 0], format: 'float' }));
    assert.is(got.length, rows * columns);
    const wrong = got.findIndex((value, i) => value !== (i % rows) * columns + Math.floor(i / rows));
    assert.is(wrong, -1);
    tensor.dispose();
  }));

test('fp16: matrices are halves that the graph casts once, vectors and numbers above 65504 stay in fp32', async () => {
  const [small, large, vector] = [tf.ones([2, 2]), tf.fill([2, 2], -70000), tf.ones([2])];
  const names = new Map<tf.Tensor, string>([[small, 'small'], [large, 'large'], [vector, 'vector']]); // biome-ignore format: one line
  const tooLarge = await beyondHalf([...names.keys()]);
  assert.equal([...tooLarge], [large]);
  const weights = new OnnxWeights(names, 'fp16', tooLarge);
  for (const tensor of [...names.keys(), small]) weights.float(tensor);
  assert.equal([...weights.initializers.keys()], ['small half', 'large', 'vector']);
  assert.equal(weights.nodes.map(({ opType, input, output }) => [opType, ...input, ...output]), [['Cast', 'small half', 'small half/fp32']]); // biome-ignore format: one line
  tf.dispose([small, large, vector]);
});

test.run();
