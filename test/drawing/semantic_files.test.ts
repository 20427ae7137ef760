import { inflateSync } from 'node:zlib';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { semanticNpy, semanticPng, vocColor } from '../../src/drawing/semantic_files.ts';

const classes = ['background', 'road', 'car', 'tree'];
const map = { width: 3, height: 2, classes, data: Uint8Array.of(0, 1, 2, 3, 2, 0) };

// The first colours of Pascal VOC's palette, from its development kit.
const COLORS = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]; // biome-ignore format: one line

test("colours are Pascal VOC's", () => {
  assert.equal(COLORS.map((_, i) => vocColor(i)), COLORS); // biome-ignore format: one line
  assert.equal([8, 15, 20, 255].map(vocColor), [[64, 0, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]]); // biome-ignore format: one line
});

test('a PNG file has the colours of the classes, and their indices as pixels', async () => {
  const png = semanticPng(map);
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  assert.equal([info.width, info.height, info.channels], [3, 2, 3]);
  assert.equal([...data], [...map.data].flatMap(index => COLORS[index])); // biome-ignore format: one line
  const start = Buffer.from(png).indexOf('IDAT') + 4;
  const length = new DataView(png.buffer, png.byteOffset).getUint32(start - 8);
  assert.equal([...inflateSync(png.subarray(start, start + length))], [0, 0, 1, 2, 0, 3, 2, 0]);
});

test('a .npy file has the indices', () => {
  const npy = Buffer.from(semanticNpy(map));
  assert.match(
    npy.toString('latin1'),
    /^\x93NUMPY\x01\x00v\x00{'descr': '\|u1', 'fortran_order': False, 'shape': \(2, 3\), }/,
  );
  assert.equal([...npy.subarray(128)], [...map.data]);
});

test.run();
