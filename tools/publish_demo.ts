/**
 * Writes weights/demo from a finished training: the weights in fp16, their calibration, and a model card with measurements.
 *
 *     npx tsx tools/publish_demo.ts DIR [--scenes N] [--backend NAME]
 *
 * DIR is the output folder of `npm run train:demo`, of all stages or from a stage on.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeCheckpoint } from '../src/checkpoint/write.ts';
import { exitOnError } from '../src/cli/exit.ts';
import { UsageError } from '../src/errors.ts';
import { Florence2 } from '../src/index.ts';
import { openFolder } from '../src/platform/node.ts';
import type { BackendName } from '../src/runtime/backend.ts';
import type { StepRecord, ValidationRecord } from '../src/training/log/records.ts';
import { elementCount } from '../src/weights/tensor_file.ts';
import { wholeNumber } from './arguments.ts';
import { calibrateDemo } from './demo/calibrate.ts';
import { evaluate } from './demo/evaluate.ts';
import { CURVE_METRICS, modelCard, type StageFacts } from './demo/model_card.ts';
import { HELD_OUT_SEED } from './demo/seeds.ts';
import { IMAGES_PER_STEP, type Stage, stages, TARGETS_PER_SCENE } from './demo/stages.ts';

/** The stages of the training, kept beside the weights, so that a later stage can be published alone. */
const FACTS = 'training.json';

const calibrationScenes = 300;

const published = fileURLToPath(new URL('../weights/demo', import.meta.url));

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      scenes: { type: 'string', default: '500' },
      backend: { type: 'string', default: 'auto' },
      output: { type: 'string', default: published },
    },
  });
  const [run] = positionals;
  if (positionals.length !== 1) throw new UsageError('Name the output folder of the training.');
  const backend = values.backend as BackendName | 'auto';
  const scenes = wholeNumber('scenes', values.scenes, 1);
  const facts = await readStages(run);
  await writeHalf(join(run, facts.at(-1)!.name, 'latest'), values.output, backend);
  await writeFile(join(values.output, FACTS), `${JSON.stringify(facts, null, 1)}\n`);
  const florence = await Florence2.load(values.output, { backend }); // measures the published weights
  await calibrateDemo(florence, calibrationScenes);
  const seed = HELD_OUT_SEED;
  const plain = await evaluate(florence, { suite: 'plain', seed, scenes });
  const wide = await evaluate(florence, { suite: 'wide', seed, scenes });
  const loaded = [...florence.model.parameters.values()].filter(parameter => parameter.loaded);
  const card = modelCard({
    measured: { plain, wide },
    stages: facts,
    parameters: loaded.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    tokens: florence.config.text.vocabSize,
  });
  florence.dispose();
  await writeFile(join(values.output, 'README.md'), card);
  console.log(card);
}

/** Returns the facts of all stages: those that ran in the folder, and of the earlier ones what was published. */
async function readStages(run: string): Promise<StageFacts[]> {
  const earlier = JSON.parse(await readFile(join(published, FACTS), 'utf8')) as StageFacts[];
  return Promise.all(
    stages.map(async stage => {
      if (existsSync(join(run, stage.name, 'metrics.jsonl'))) return readStage(run, stage);
      const known = earlier.find(({ name }) => name === stage.name);
      if (!known) throw new UsageError(`${run} has no ${stage.name}/metrics.jsonl. Has the training finished?`);
      return known;
    }),
  );
}

/** Writes a checkpoint again, with fp16 weights. */
async function writeHalf(from: string, to: string, backend: BackendName | 'auto'): Promise<void> {
  const florence = await Florence2.load(from, { backend });
  await rm(to, { recursive: true, force: true });
  await mkdir(to, { recursive: true });
  await writeCheckpoint(florence, openFolder(to), { dtype: 'fp16' });
  florence.dispose();
}

async function readStage(run: string, { name }: Stage): Promise<StageFacts> {
  const perStep = IMAGES_PER_STEP * TARGETS_PER_SCENE;
  const lines = (await readFile(join(run, name, 'metrics.jsonl'), 'utf8')).trim().split('\n');
  const records = lines.map(line => JSON.parse(line) as StepRecord | ValidationRecord);
  const steps = records.filter((record): record is StepRecord => 'gradNorm' in record);
  const curve = records
    .filter((record): record is ValidationRecord => 'metrics' in record)
    .map(({ step, metrics }) => ({ step, metrics: ofCurve(metrics) }));
  const seconds = steps.reduce((sum, { samplesPerSecond }) => sum + perStep / samplesPerSecond, 0);
  const machine = cpus()[0]
    .model.replace(/\((R|TM)\)/g, '')
    .trim();
  return { name, steps: steps.length, targets: steps.length * perStep, hours: seconds / 3600, machine, curve };
}

function ofCurve(metrics: ValidationRecord['metrics']): ValidationRecord['metrics'] {
  const kept = CURVE_METRICS.filter(([task, metric]) => metrics[task]?.[metric] !== undefined);
  return Object.fromEntries(kept.map(([task, metric]) => [task, { [metric]: metrics[task][metric] }]));
}

await exitOnError(main);
