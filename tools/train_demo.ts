/**
 * Trains the demo checkpoint on drawn scenes, from scratch or from a stage on. Ctrl-C stops it, and the same command
 * resumes it:
 *
 *     npm run train:demo -- [--stage NAME] [--output DIR] [--backend NAME]
 *
 * With --stage, the earlier stages are taken as done: the weights come from DIR if these stages ran there, otherwise from
 * weights/demo. Each stage takes at most two hours on two cores. The result is the folder `latest` of the last stage, from
 * which `npx tsx tools/publish_demo.ts DIR` writes weights/demo.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exitOnError, interruptSignal } from '../src/cli/exit.ts';
import { Florence2 } from '../src/index.ts';
import type { BackendName } from '../src/runtime/backend.ts';
import type { StepRecord, ValidationRecord } from '../src/training/log/records.ts';
import type { TrainerOptions } from '../src/training/options.ts';
import { Trainer } from '../src/training/trainer.ts';
import { oneOf } from './arguments.ts';
import { writeUntrainedDemo } from './demo/checkpoint.ts';
import { sceneDataset } from './demo/dataset.ts';
import { VALIDATION_SEED } from './demo/seeds.ts';
import { IMAGES_PER_STEP, type Stage, stages, TARGETS_PER_SCENE } from './demo/stages.ts';

/** More than a stage draws, so that the order of the scenes does not depend on the number of steps. */
const trainingScenes = 2 ** 20;
const validationScenes = 60;

/**
 * One thread: the matrix products are so small that a step takes 0.75 s on one thread and 0.95 s on two (tensorflow).
 */
process.env.TF_NUM_INTRAOP_THREADS ??= '1';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      output: { type: 'string', default: fileURLToPath(new URL('../out/train-demo', import.meta.url)) },
      backend: { type: 'string', default: 'auto' },
      stage: { type: 'string', default: stages[0].name },
    },
  });
  const names = stages.map(({ name }) => name);
  const first = names.indexOf(oneOf('stage', values.stage, names));
  const signal = interruptSignal();
  let start = await startOf(first, values.output);
  for (const stage of stages.slice(first)) {
    const florence = await Florence2.load(start, { backend: values.backend as BackendName | 'auto' });
    const output = join(values.output, stage.name);
    const { stopped } = await new Trainer(florence, options(stage, output)).run({ signal });
    florence.dispose();
    if (stopped) return console.log('Stopped. The same command resumes the training.');
    start = join(output, 'latest');
  }
  console.log(`Trained: ${start}`);
}

/** Returns the folder of the weights that a stage starts from. */
async function startOf(stage: number, output: string): Promise<string> {
  if (stage === 0) {
    const untrained = join(output, 'untrained');
    if (!existsSync(join(untrained, 'model.safetensors'))) await writeUntrainedDemo(untrained, 0);
    return untrained;
  }
  const before = join(output, stages[stage - 1].name, 'latest');
  return existsSync(before) ? before : 'demo';
}

function options({ name, seed, scenes, steps, ...rates }: Stage, output: string): TrainerOptions {
  return {
    ...rates,
    output,
    train: scenes.map(kind => {
      return {
        dataset: sceneDataset(seed, trainingScenes, { ...kind, targetsPerScene: TARGETS_PER_SCENE }),
        weight: 1,
      };
    }),
    valid: sceneDataset(VALIDATION_SEED, validationScenes, scenes[0]),
    maxSteps: steps,
    batchSize: IMAGES_PER_STEP,
    freeze: [],
    gradientCheckpointing: false,
    dropout: false, // no scene is repeated
    betas: [0.9, 0.98], // gradients change quickly at the start
    validateEvery: 500,
    validateExamples: 30,
    saveEvery: 500,
    resume: true,
    onStep: record => printStep(name, steps, record),
    onValidation: printValidation,
  };
}

function printStep(stage: string, steps: number, record: StepRecord): void {
  const { step, loss, learningRate, gradNorm, samplesPerSecond, secondsLeft } = record;
  if (step % 50 !== 0) return;
  const left = `${Math.floor(secondsLeft / 3600)} h ${Math.round((secondsLeft % 3600) / 60)} min left`;
  const rates = `rate ${learningRate.toExponential(1)}, gradient ${gradNorm.toFixed(2)}`;
  console.log(
    `${stage} ${step}/${steps}  loss ${loss.toFixed(3)}  ${rates}, ${samplesPerSecond.toFixed(1)} targets/s, ${left}`,
  );
}

function printValidation({ step, loss, metrics }: ValidationRecord): void {
  console.log(`after ${step} steps: validation loss ${loss.toFixed(3)}`);
  for (const [task, values] of Object.entries(metrics)) {
    const shown = Object.entries(values).filter(([name]) => !/^AP\/|^count$/.test(name));
    console.log(`  ${task.padEnd(36)} ${shown.map(([name, value]) => `${name} ${value.toFixed(3)}`).join('  ')}`);
  }
}

await exitOnError(main);
