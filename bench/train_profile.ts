/**
 * Where the time of a LoRA step with cached image features goes, by TensorFlow operation, for the base shape:
 *
 *     npx tsx bench/train_profile.ts [--batch 1] [--steps 4] [--shapes]
 *
 * Prints each operation's milliseconds and calls in a step, the longest first; with --shapes for each shape of its inputs.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { Florence2 } from '../src/index.ts';
import type { NodeBackend } from '../src/runtime/graph/record.ts';
import { Trainer } from '../src/training/trainer.ts';
import { writeRandomCheckpoint } from '../tools/random_checkpoint.ts';
import { trainingExample } from './train_example.ts';

const { values } = parseArgs({
  options: {
    batch: { type: 'string', default: '1' },
    steps: { type: 'string', default: '4' },
    shapes: { type: 'boolean', default: false },
  },
});
const [batchSize, steps] = [Number(values.batch), Number(values.steps)];
const times = new Map<string, { ms: number; calls: number }>();
let counting = false;

/** Notes how long an operation takes while `counting`. */
function timed<T>(op: string, inputs: tf.Tensor[], body: () => T): T {
  if (!counting) return body();
  const start = performance.now();
  const result = body();
  const name = values.shapes ? `${op} ${inputs.map(({ shape }) => `[${shape}]`).join(' ')}` : op;
  const { ms, calls } = times.get(name) ?? { ms: 0, calls: 0 };
  times.set(name, { ms: ms + performance.now() - start, calls: calls + 1 });
  return result;
}

const folder = await mkdtemp(join(tmpdir(), 'florence2-bench-'));
try {
  await writeRandomCheckpoint(join(folder, 'model'), { shape: 'base', seed: 1, dtype: 'F32' });
  const florence = await Florence2.load(join(folder, 'model'), { backend: 'tensorflow' });
  const example = await trainingExample(florence.preprocessor);
  const backend = tf.backend() as unknown as NodeBackend;
  const { executeSingleOutput, executeMultipleOutputs } = backend;
  const single: typeof executeSingleOutput = (op, attributes, inputs) =>
    timed(op, inputs, () => executeSingleOutput.call(backend, op, attributes, inputs));
  const multiple: typeof executeMultipleOutputs = (op, attributes, inputs, count) =>
    timed(op, inputs, () => executeMultipleOutputs.call(backend, op, attributes, inputs, count));
  Object.assign(backend, { executeSingleOutput: single, executeMultipleOutputs: multiple });
  const trainer = new Trainer(florence, {
    ...{ lora: { r: 8 }, batchSize, epochs: steps + 2, dropout: false, schedule: 'constant', saveEvery: 1e9 },
    train: { name: 'one image', length: batchSize, example: async () => example },
    output: join(folder, 'run'),
    onStep: ({ step }) => {
      counting = step >= 2 && step < steps + 2; // the first computes the image features, the second warms up
    },
  });
  await trainer.run();
} finally {
  await rm(folder, { recursive: true });
}
const sorted = [...times].sort(([, a], [, b]) => b.ms - a.ms);
const total = sorted.reduce((sum, [, { ms }]) => sum + ms, 0);
console.log(`${Math.round(total / steps)} ms in operations, a step`);
for (const [name, { ms, calls }] of sorted.slice(0, 30)) {
  console.log(
    `${(ms / steps).toFixed(1).padStart(8)} ms ${String(Math.round(calls / steps)).padStart(6)} calls  ${name}`,
  );
}
