import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openFolder } from '../../src/platform/node.ts';
import { findBuilds } from '../../src/runtime/builds.ts';
import { canonicalCheckpoint } from '../../src/weights/canonical.ts';
import { openCheckpoint } from '../../src/weights/checkpoint.ts';
import { elementCount } from '../../src/weights/tensor_file.ts';
import { type RandomCheckpointOptions, writeRandomCheckpoint } from '../../tools/random_checkpoint.ts';
import { temporaryFolder } from './temporary.ts';

const root = temporaryFolder();
const script = fileURLToPath(new URL('./load_memory.ts', import.meta.url));
const tensorflow = findBuilds().length > 0;

interface Case extends Partial<RandomCheckpointOptions> {
  name: string;
  backends: string[];
}

const cases: Case[] = [
  { name: 'base, fp16', shape: 'base', dtype: 'F16', backends: tensorflow ? ['wasm', 'tensorflow'] : ['wasm'] },
  { name: 'base, fp32, three shards', shape: 'base', dtype: 'F32', shards: 3, backends: ['wasm'] },
];
// Loading refuses the large model's 3.1 GB on wasm.
if (tensorflow && freemem() > 8 * 2 ** 30) {
  cases.push({ name: 'large, fp16', shape: 'large', dtype: 'F16', backends: ['tensorflow'] });
}

for (const { name, backends, ...options } of cases) {
  test(`loading takes less than 1.3 times the fp32 weights: ${name}`, async () => {
    const folder = join(root, name);
    await writeRandomCheckpoint(folder, options);
    for (const backend of backends) {
      const output = execFileSync(process.execPath, ['--import', 'tsx', script, folder, backend], { encoding: 'utf8' });
      const { growth, weights } = JSON.parse(output.trim().split('\n').at(-1)!);
      const ratio = growth / weights;
      assert.ok(ratio > 0.9, `${backend}: the weights are not in memory (${ratio.toFixed(2)})`);
      assert.ok(ratio < 1.3, `${backend}: ${ratio.toFixed(2)} times the weights`);
    }
    rmSync(folder, { recursive: true });
  });
}

test('reading tensor by tensor takes little more memory than the largest tensor', async () => {
  const folder = join(root, 'stream');
  await writeRandomCheckpoint(folder, { shape: 'base', dtype: 'F16' });
  const checkpoint = await canonicalCheckpoint(await openCheckpoint(openFolder(folder)));
  const largest = Math.max(...[...checkpoint.tensors.values()].map(({ shape }) => elementCount(shape)));
  const buffer = new Float32Array(largest).fill(1);
  const before = process.memoryUsage.rss();
  let most = 0;
  for (const name of checkpoint.tensors.keys()) {
    await checkpoint.readFloat32(name, buffer);
    most = Math.max(most, process.memoryUsage.rss() - before);
  }
  await checkpoint.close();
  rmSync(folder, { recursive: true });
  assert.ok(most < 64 * 2 ** 20, `${(most / 2 ** 20).toFixed(0)} MiB beside the buffer`);
});

test.run();
