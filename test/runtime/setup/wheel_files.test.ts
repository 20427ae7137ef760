import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cudaPlace, cudaRequirements } from '../../../src/runtime/setup/wheel_files.ts';
import { zipFile } from './archives.ts';
import { messageOf } from './fixtures.ts';

test("the CUDA libraries that TensorFlow's metadata requires", async () => {
  // As in the metadata of tensorflow 2.21.0, plus other spellings of such lines.
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
  assert.match(await messageOf(cudaRequirements(zipFile([{ name: 'x', body: '' }]))), /lists no CUDA libraries/);
});

test('of a CUDA wheel, runtime files are kept and development files are not', () => {
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
