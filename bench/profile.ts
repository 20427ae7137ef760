/**
 * Profiles the vision tower, the encoder (600 tokens) or a LoRA step with cached image features by TensorFlow
 * operation, for the base shape:
 *
 *     npx tsx bench/profile.ts [--part vision|encoder|lora] [--batch 1] [--rounds 4] [--shapes]
 *
 * Prints milliseconds and calls per round of each operation, the longest first; with --shapes for each shape of its
 * inputs. Everything runs eagerly, because operations inside a graph cannot be timed.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { exitOnError } from '../src/cli/exit.ts';
import { UsageError } from '../src/errors.ts';
import { Florence2, noHooks } from '../src/index.ts';
import type { NodeBackend } from '../src/runtime/tensorflow_binding.ts';
import { Trainer } from '../src/training/trainer.ts';
import { withRandomCheckpoint } from './inputs.ts';
import { trainingExample } from './train_example.ts';

const { values } = parseArgs({
  options: {
    part: { type: 'string', default: 'vision' },
    batch: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '4' },
    shapes: { type: 'boolean', default: false },
  },
});
const [batchSize, rounds] = [Number(values.batch), Number(values.rounds)];
const times = new Map<string, { ms: number; calls: number }>();
let counting = false;

/** Functions that run a part `rounds` times, after a warm-up that is not counted. */
const parts: Record<string, (florence: Florence2, folder: string) => void | Promise<void>> = {
  vision({ model, preprocessor: { width, height } }) {
    const executor = model;
    repeat(() => executor.visionMap(tf.ones([batchSize, height, width, 3]), noHooks));
  },
  encoder({ model }) {
    const executor = model;
    repeat(() => executor.encode(tf.ones([batchSize, 600, model.config.text.dModel]), null, noHooks));
  },
  async lora(florence, folder) {
    const example = await trainingExample(florence.preprocessor);
    const trainer = new Trainer(florence, {
      pictures: false,
      ...{ lora: { r: 8 }, batchSize, epochs: rounds + 2, dropout: false, schedule: 'constant', saveEvery: 1e9 },
      train: { name: 'one image', length: batchSize, example: async () => example },
      output: join(folder, 'run'),
      onStep: ({ step }) => {
        counting = step >= 2 && step < rounds + 2; // step 1 computes image features, step 2 is a warm-up
      },
    });
    await trainer.run();
  },
};

function repeat(body: () => tf.Tensor): void {
  for (let round = 0; round <= rounds; round++) {
    counting = round > 0;
    tf.tidy(() => void body());
  }
}

/** Runs an operation and records its time if `counting`. */
function timed<T>(op: string, inputs: tf.Tensor[], body: () => T): T {
  if (!counting) return body();
  const start = performance.now();
  const result = body();
  const name = values.shapes ? `${op} ${inputs.map(({ shape }) => `[${shape}]`).join(' ')}` : op;
  const { ms, calls } = times.get(name) ?? { ms: 0, calls: 0 };
  times.set(name, { ms: ms + performance.now() - start, calls: calls + 1 });
  return result;
}

/** Patches the backend so that its operations are timed. */
function timeOperations(): void {
  const backend = tf.backend() as unknown as NodeBackend;
  const { executeSingleOutput, executeMultipleOutputs } = backend;
  const single: typeof executeSingleOutput = (op, attributes, inputs) =>
    timed(op, inputs, () => executeSingleOutput.call(backend, op, attributes, inputs));
  const multiple: typeof executeMultipleOutputs = (op, attributes, inputs, count) =>
    timed(op, inputs, () => executeMultipleOutputs.call(backend, op, attributes, inputs, count));
  Object.assign(backend, { executeSingleOutput: single, executeMultipleOutputs: multiple });
}

await exitOnError(async () => {
  const part = parts[values.part];
  if (!part) throw new UsageError(`--part must be one of ${Object.keys(parts).join(', ')}, not ${values.part}.`);
  await withRandomCheckpoint({ shape: 'base', dtype: 'F32' }, async folder => {
    const florence = await Florence2.load(folder, { backend: 'tensorflow' });
    timeOperations();
    await part(florence, folder);
  });
  const sorted = [...times].sort(([, a], [, b]) => b.ms - a.ms);
  const total = sorted.reduce((sum, [, { ms }]) => sum + ms, 0);
  console.log(`${Math.round(total / rounds)} ms in operations per round`);
  for (const [name, { ms, calls }] of sorted.slice(0, 30)) {
    const [each, count] = [(ms / rounds).toFixed(1), String(Math.round(calls / rounds))];
    console.log(`${each.padStart(8)} ms ${count.padStart(6)} calls  ${name}`);
  }
});
