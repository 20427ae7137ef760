/**
 * Where the time goes, by TensorFlow operation, for the base shape: of the vision tower, of the encoder (600 tokens), or of
 * a LoRA step with cached image features:
 *
 *     npx tsx bench/profile.ts [--part vision|encoder|lora] [--batch 1] [--rounds 4] [--shapes]
 *
 * Prints each operation's milliseconds and calls in a round, the longest first; with --shapes for each shape of its inputs.
 * All is run operation by operation, since TensorFlow does not tell of those within a graph.
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

/** Runs a part `rounds` times and once before, which is not counted. */
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
      ...{ lora: { r: 8 }, batchSize, epochs: rounds + 2, dropout: false, schedule: 'constant', saveEvery: 1e9 },
      train: { name: 'one image', length: batchSize, example: async () => example },
      output: join(folder, 'run'),
      onStep: ({ step }) => {
        counting = step >= 2 && step < rounds + 2; // the first computes the image features, the second warms up
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

/** From now on the backend's operations are timed. */
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
  if (!part) throw new UsageError(`--part takes ${Object.keys(parts).join(', ')}, not ${values.part}.`);
  await withRandomCheckpoint({ shape: 'base', dtype: 'F32' }, async folder => {
    const florence = await Florence2.load(folder, { backend: 'tensorflow' });
    timeOperations();
    await part(florence, folder);
  });
  const sorted = [...times].sort(([, a], [, b]) => b.ms - a.ms);
  const total = sorted.reduce((sum, [, { ms }]) => sum + ms, 0);
  console.log(`${Math.round(total / rounds)} ms in operations, a round`);
  for (const [name, { ms, calls }] of sorted.slice(0, 30)) {
    const [each, count] = [(ms / rounds).toFixed(1), String(Math.round(calls / rounds))];
    console.log(`${each.padStart(8)} ms ${count.padStart(6)} calls  ${name}`);
  }
});
