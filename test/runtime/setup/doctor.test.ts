import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatDiagnosis } from '../../../src/cli/actions/doctor.ts';
import { doctorCommand } from '../../../src/cli/commands/doctor.ts';
import type { Diagnosis } from '../../../src/runtime/setup/doctor.ts';
import { temporaryFolder } from '../../weights/temporary.ts';

const cache = temporaryFolder();
process.env.FLORENCE2_CACHE = cache;
process.env.HF_HOME = join(cache, 'huggingface');
writeFileSync(join(cache, 'file'), Buffer.alloc(12_345));

/** Returns the output of `florence2 doctor`. */
async function run(...args: string[]): Promise<string> {
  const { write } = process.stdout;
  let output = '';
  process.stdout.write = (text: string | Uint8Array) => {
    output += text;
    return true;
  };
  try {
    await doctorCommand().parseAsync(args, { from: 'user' });
  } finally {
    process.stdout.write = write;
  }
  return output;
}

const output = await run('--json');
const diagnosis = JSON.parse(output) as Diagnosis;

test('versions and machine', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  assert.is(diagnosis.package, version);
  assert.is(diagnosis.tfjs, '4.22.0');
  assert.is(diagnosis.node, process.version);
  assert.is(diagnosis.system.platform, process.platform);
  assert.ok(diagnosis.system.cores > 0);
  assert.ok(diagnosis.system.memory.total > diagnosis.system.memory.free);
});

test('every backend has a result', () => {
  assert.equal(
    diagnosis.backends.map(({ name }) => name),
    ['tensorflow', 'webgpu', 'wasm', 'cpu'],
  );
  for (const { name, works } of diagnosis.backends) {
    if (name === 'wasm' || name === 'cpu') assert.ok(works, name);
    if (name === 'tensorflow') assert.not.ok(works, 'the cache folder of this test is empty');
  }
  assert.ok(diagnosis.auto.works);
  assert.equal(diagnosis.tensorflow, []);
});

test('cache folders and their sizes', () => {
  const [florence2, hub] = diagnosis.caches;
  assert.equal(florence2, { name: 'florence2', folder: cache, exists: true, bytes: 12_345 });
  assert.equal(hub, { name: 'Hugging Face', folder: join(cache, 'huggingface/hub'), exists: false, bytes: 0 });
});

test('the text report has the same facts', () => {
  const tensorflow = {
    tensorflow: '2.21.0',
    variant: 'gpu',
    cuda: { 'nvidia-cublas-cu12': '12.9.1.4' },
    folder: '/x',
    bytes: 5e9,
  };
  const text = formatDiagnosis({ ...diagnosis, tensorflow: [tensorflow as Diagnosis['tensorflow'][number]] });
  for (const line of [
    /^florence2-tfjs +\d+\.\d+\.\d+, TensorFlow\.js 4\.22\.0, Node v/m,
    /^tensorflow +does not work: TensorFlow is not set up: run "florence2 setup tensorflow"\.$/m,
    /^wasm +works: WebAssembly/m,
    /^auto +uses \w+$/m,
    /^TensorFlow \(gpu\) +2\.21\.0, 5\.0 GB, \/x\n +nvidia-cublas-cu12 12\.9\.1\.4$/m,
    /^precision +not measured: run "florence2 setup tensorflow"$/m,
    /^florence2 cache +0\.0 GB, /m,
  ]) {
    assert.match(text, line);
  }
  const products = [
    { shape: [600, 768, 3072] as const, fp32: 16, bf16: 24 },
    { shape: [2304, 512, 2048] as const, fp32: 4, bf16: 6.25 },
  ];
  assert.match(
    formatDiagnosis({ ...diagnosis, products: { processor: 'x', cores: 1, products } }),
    /^precision +600×768×3072 +fp32 +16\.0 ms +bf16 +24\.0 ms\n +2304×512×2048 +fp32 +4\.0 ms +bf16 +6\.3 ms\n +bf16 takes 1\.51 of the time of fp32$/m,
  );
});

test.run();
