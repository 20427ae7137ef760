import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cudaPlace, cudaRequirements } from '../../../src/runtime/setup/cuda.ts';
import { untar, unzip } from '../../../src/runtime/setup/unpack.ts';
import { type ArchiveFile, makeTarball, makeZip } from './archives.ts';
import { temporaryFolder } from './temporary.ts';

function zipFile(files: ArchiveFile[]): string {
  const path = join(temporaryFolder(), 'x.whl');
  writeFileSync(path, makeZip(files));
  return path;
}
const fails = async (promise: Promise<unknown>, pattern: RegExp) => {
  const error = await promise.then(
    () => assert.unreachable('it should have failed') as never,
    (error: Error) => error,
  );
  assert.is(error.name, 'Florence2Error', error.stack);
  assert.match(error.message, pattern);
};

test('the chosen files of a wheel, under the names they are given', async () => {
  const folder = temporaryFolder();
  const zip = zipFile([
    { name: 'tensorflow/', body: '' },
    { name: 'tensorflow/lib.so.2', body: 'library' },
    { name: 'tensorflow/bin/tool', body: 'tool', mode: 0o755 },
    { name: 'tensorflow/x.py', body: 'unwanted' },
  ]);
  let last = [0, 0];
  const place = (name: string) => (name.endsWith('.py') ? undefined : `site/${name}`);
  const count = await unzip(zip, folder, place, (...counts) => (last = counts));
  assert.is(count, 2);
  assert.equal(last, [11, 11]);
  assert.is(readFileSync(join(folder, 'site/tensorflow/lib.so.2'), 'utf8'), 'library');
  assert.ok(statSync(join(folder, 'site/tensorflow/bin/tool')).mode & 0o100, 'a program stays executable');
  assert.not.ok(existsSync(join(folder, 'site/tensorflow/x.py')));
});

test('a zip file that points out of its folder is refused', async () => {
  const folder = temporaryFolder();
  for (const name of ['../evil', 'a/../../evil', '/evil']) {
    await fails(
      unzip(zipFile([{ name, body: 'x' }]), join(folder, 'in'), name => name),
      /outside|cannot be unpacked/,
    );
  }
  assert.equal(readdirSync(folder), []);
});

test('a zip file that needs more room than there is', async () => {
  const zip = zipFile([
    { name: 'a', body: 'x', claimedSize: 0xfffffff0 },
    ...Array.from({ length: 2000 }, (_, i) => ({ name: `b${i}`, body: '', claimedSize: 0xfffffff0 })),
  ]);
  await fails(
    unzip(zip, temporaryFolder(), name => name),
    /Not enough room/,
  );
});

test('what is no zip file is refused', async () => {
  const path = join(temporaryFolder(), 'x.whl');
  writeFileSync(path, 'not a zip file');
  await fails(
    unzip(path, temporaryFolder(), name => name),
    /x\.whl cannot be unpacked/,
  );
});

test('an npm package, with long names', async () => {
  const folder = temporaryFolder();
  const long = `package/${'deep/'.repeat(30)}file.js`;
  await untar(
    makeTarball([
      { name: 'package/package.json', body: '{}' },
      { name: long, body: 'x'.repeat(1000) },
    ]),
    folder,
    'p.tgz',
  );
  assert.is(readFileSync(join(folder, 'package.json'), 'utf8'), '{}');
  assert.is(readFileSync(join(folder, long.replace('package/', '')), 'utf8').length, 1000);
});

test('an npm package that points out of its folder is refused', async () => {
  const folder = temporaryFolder();
  await fails(
    untar(makeTarball([{ name: 'package/../../evil', body: 'x' }]), join(folder, 'in'), 'p.tgz'),
    /outside its folder/,
  );
  assert.equal(readdirSync(folder), []);
});

test("the CUDA libraries that TensorFlow's metadata names", async () => {
  // As in the metadata of tensorflow 2.21.0, with other ways to write such lines.
  const body = [
    'Metadata-Version: 2.1',
    'Requires-Dist: absl-py>=1.0.0',
    'Provides-Extra: and-cuda',
    'Requires-Dist: nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == "and-cuda"',
    "Requires-Dist: nvidia-nccl-cu12 (<3.0,>=2.27.7) ; extra == 'and-cuda'",
    'Requires-Dist: something; extra == "other"',
  ].join('\n');
  const wheel = zipFile([{ name: 'tensorflow-2.21.0.dist-info/METADATA', body }]);
  assert.equal(await cudaRequirements(wheel), [
    { project: 'nvidia-cublas-cu12', requirement: '<13.0,>=12.5.3.2' },
    { project: 'nvidia-nccl-cu12', requirement: '<3.0,>=2.27.7' },
  ]);
  await fails(cudaRequirements(zipFile([{ name: 'x', body: '' }])), /names no CUDA libraries/);
});

test('of a CUDA wheel, what runs is kept and what compiles programs is not', () => {
  for (const kept of [
    'nvidia/cublas/lib/libcublas.so.12',
    'nvidia/cuda_nvcc/bin/ptxas',
    'nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc',
  ]) {
    assert.is(cudaPlace(kept), kept);
  }
  for (const left of [
    'nvidia/cublas/include/cublas.h',
    'nvidia/__init__.py',
    'nvidia/cublas/lib/__init__.py',
    'nvidia/cuda_runtime/lib/libcudart_static.a',
    'nvidia/cuda_nvcc/nvvm/include/nvvm.h',
    'x.dist-info/RECORD',
  ]) {
    assert.is(cudaPlace(left), undefined);
  }
});

test.run();
