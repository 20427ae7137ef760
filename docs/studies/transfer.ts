/**
 * Does one task teach the others? The demo checkpoint, which has never seen a heart, is trained on the answers to one task
 * about scenes with hearts. The study measures all tasks before and after: on scenes with nothing but hearts, and on
 * scenes with the known shapes. Random weights are trained and measured in the same way.
 *
 *     npx tsx docs/studies/transfer.ts [TASK] [SCENES] [STEPS] [TEST_SCENES] [FOLDER]
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Florence2, TASKS, Trainer } from '../../src/index.ts';
import { writeUntrainedDemo } from '../../tools/demo/checkpoint.ts';
import { sceneDataset } from '../../tools/demo/dataset.ts';
import { evaluate } from '../../tools/demo/evaluate.ts';
import { HELD_OUT_SEED, NEW_SHAPE_SEEDS } from '../../tools/demo/seeds.ts';
import { NEW_SHAPE } from '../../tools/demo/shape_dataset.ts';
import { TRAINED_SHAPES } from '../../tools/demo/vocabulary.ts';
import { figurePath } from './figure_path.ts';
import { heatTables, tableLines } from './heat_table.ts';

const [task = '<OD>', scenes = '100', steps = '200', testScenes = '40', folder] = process.argv.slice(2);
const aboutObjects = TASKS.filter(({ name }) => !name.includes('ocr'));
const kinds = [
  { title: `Scenes of ${NEW_SHAPE}s`, seed: NEW_SHAPE_SEEDS.test, shapes: [NEW_SHAPE], signs: 0, rows: aboutObjects },
  { title: 'Scenes of known shapes', seed: HELD_OUT_SEED, shapes: TRAINED_SHAPES, rows: TASKS },
];
/** Metrics from 0 to 1. The figure of a task is the first that it has. */
const metrics = ['recallAt1', 'exactMatch', 'mAP50', 'meanIoU'];

/** Returns the figures of all tasks for each kind of scene. */
async function measure(model: Florence2): Promise<number[][]> {
  const figures: number[][] = [];
  for (const { title: _, rows, ...kind } of kinds) {
    const { tasks } = await evaluate(model, { ...kind, scenes: Number(testScenes) });
    figures.push(rows.map(({ task }) => tasks[task][metrics.find(name => name in tasks[task])!]));
  }
  return figures;
}

/** Trains all parameters on the answers to one task. Half of the objects are hearts. */
async function teach(model: Florence2, output: string): Promise<void> {
  const shapes = [...TRAINED_SHAPES, ...TRAINED_SHAPES.map(() => NEW_SHAPE)];
  const train = sceneDataset(NEW_SHAPE_SEEDS.train, Number(scenes), { shapes, tasks: [task] });
  const length = { maxSteps: Number(steps), epochs: Number(steps), saveEvery: Number(steps) };
  const rates = { batchSize: 8, learningRate: 3e-4, warmupSteps: 20, dropout: false };
  await new Trainer(model, { train, output, ...length, ...rates, freeze: [], gradientCheckpointing: false }).run();
}

const work = await mkdtemp(join(tmpdir(), 'florence2-transfer-'));
await writeUntrainedDemo(join(work, 'random'), 0);
const measured: number[][][] = [];
for (const weights of [join(import.meta.dirname, '../../weights/demo'), join(work, 'random')]) {
  const model = await Florence2.load(weights);
  measured.push(await measure(model));
  await teach(model, join(work, `run-${measured.length}`));
  measured.push(await measure(model));
  model.dispose();
}
await rm(work, { recursive: true });

const columns = ['demo', 'trained', 'random', 'trained'];
const tables = kinds.map(({ title, rows }, kind) => {
  const values = rows.flatMap((_, row) => measured.map(figures => figures[kind][row]));
  return { title, across: '', rows: rows.map(({ name }) => name), columns, values };
});
await writeFile(await figurePath('transfer.svg', folder), heatTables(tables));
for (const table of tables) console.log(tableLines(table).join('\n'));
