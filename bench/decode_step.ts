/**
 * What graphs, kernels for few rows and weights as halves each bring to a decode step of the base shape, with 60 tokens
 * behind it and 587 positions to look at, on the tensorflow backend:
 *
 *     npx tsx bench/decode_step.ts
 *
 * Random weights: those of the first checkpoint are fp32, which halves cannot hold. Writes
 * bench/results/decode-step.json.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { EagerExecutor, type Executor } from '../src/executor.ts';
import { Florence2, noHooks } from '../src/index.ts';
import { writeRandomCheckpoint } from '../tools/random_checkpoint.ts';
import { Figures, median, writeReport } from './report.ts';

const STEPS = 60;
const figures = new Figures();

/** Median milliseconds of the steps of `rows` rows over one image and prompt. */
function timeSteps(executor: Executor, rows: number, dModel: number): number {
  const states = tf.randomNormal([1, 587, dModel], 0, 1, 'float32', 3) as tf.Tensor3D;
  const caches = executor.newCaches(states, noHooks);
  const times: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const tokens = tf.fill([rows, 1], 100 + step, 'int32') as tf.Tensor2D;
    const start = performance.now();
    const logits = executor.decodeStep(tokens, { states, mask: null }, caches, noHooks);
    times.push(performance.now() - start);
    tf.dispose([tokens, logits]);
  }
  for (const cache of caches) cache.dispose();
  states.dispose();
  return median(times);
}

const folder = await mkdtemp(join(tmpdir(), 'florence2-bench-'));
try {
  for (const dtype of ['F32', 'F16'] as const) {
    await writeRandomCheckpoint(join(folder, dtype), { shape: 'base', seed: 1, dtype });
    const { model } = await Florence2.load(join(folder, dtype), { backend: 'tensorflow' });
    const ways = { 'operation by operation': new EagerExecutor(model), 'as a graph': model.executor };
    for (const [way, executor] of Object.entries(ways)) {
      for (const rows of [1, 3]) {
        const time = timeSteps(executor, rows, model.config.text.dModel);
        figures.record(`${dtype} weights, ${way}, ${rows} rows: ms a step`, time);
      }
    }
    model.dispose();
  }
} finally {
  await rm(folder, { recursive: true });
}
await writeReport('decode-step', { steps: STEPS, figures: figures.values });
