/** Reads files of `florence2 features` with numpy and safetensors. FLORENCE2_PYTHON names a Python that has them. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeRandomCheckpoint } from '../../../tools/random_checkpoint.ts';
import { pythonLacks, runPython } from '../../tools/python.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { florence2 } from '../florence2.ts';

const pictures = fileURLToPath(new URL('../../../docs/pictures', import.meta.url));
const lack = pythonLacks(['numpy', 'safetensors']);
if (lack) console.log(`The files of features are not read with numpy: ${lack}.`);

const reader = `
import sys, json, numpy
from safetensors import safe_open
whole = numpy.load(sys.argv[1] + '/whole.npy')
with safe_open(sys.argv[1] + '/whole.safetensors', 'numpy') as file:
    [name] = file.keys()
    same = numpy.array_equal(file.get_tensor(name), whole)
    images = len(json.loads(file.metadata()['images']))
pooled = numpy.load(sys.argv[1] + '/pooled.npy')
apart = float(abs(whole.mean(axis=(1, 2)) - pooled).max())
print(json.dumps(dict(dtype=str(whole.dtype), shape=whole.shape, order=bool(whole.flags.c_contiguous), same=same,
                      images=images, pooled=pooled.shape, apart=apart)))
`;

(lack ? test.skip : test)('numpy and safetensors read the same array, and its mean', async () => {
  const folder = temporaryFolder();
  const checkpoint = join(folder, 'checkpoint');
  await writeRandomCheckpoint(checkpoint, { shape: 'tiny' });
  const at = 'vision_tower.blocks.3.0.channel_block.hook_resid_post'; // [H, W, C]
  for (const [file, pool] of [
    ['whole.npy', 'none'],
    ['whole.safetensors', 'none'],
    ['pooled.npy', 'mean'],
  ]) {
    // biome-ignore format: one line
    const args = ['-m', checkpoint, '-b', 'wasm', '--at', at, '--pool', pool, '-o', join(folder, file)];
    const { code, stderr } = await florence2('features', pictures, ...args);
    assert.is(code, 0, stderr);
  }
  const { code, stdout, stderr } = await runPython(['-c', reader, folder]);
  assert.is(code, 0, stderr);
  const { apart, ...read } = JSON.parse(stdout);
  const [images, side, other, channels] = read.shape;
  assert.equal([images, side], [3, other]);
  assert.equal(read, {
    dtype: 'float32',
    shape: read.shape,
    order: true,
    same: true,
    images: 3,
    pooled: [3, channels],
  });
  assert.ok(apart < 1e-5, `the means differ by ${apart}`);
});

test.run();
