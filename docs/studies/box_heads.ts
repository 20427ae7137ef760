/**
 * Which cross-attention heads carry the coordinates of boxes? The study ablates each head alone (replaces its output by
 * the mean of its outputs over other scenes) and measures the log-probability of the true `<OD>` answer: do location
 * tokens or words become less likely?
 *
 *     npx tsx docs/studies/box_heads.ts [SCENES] [FOLDER]
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {
  ablationSweep,
  captureForced,
  Florence2,
  formatAnswer,
  meanAblation,
  Question,
  type RowMetric,
} from '../../src/index.ts';
import { drawScene } from '../../tools/demo/scene.ts';
import { HELD_OUT_SEED } from '../../tools/demo/seeds.ts';
import { figurePath } from './figure_path.ts';
import { type HeatTable, heatTables, tableLines } from './heat_table.ts';

const model = await Florence2.load(join(import.meta.dirname, '../../weights/demo'));
const heads = 'language_model.decoder.layers.{layer}.encoder_attn.hook_z';
const firstLocation = model.tokenizer.tokenToId('<loc_0>')!;
const isLocation = (id: number): boolean => id >= firstLocation && id < firstLocation + 1000;
const isWord = (id: number): boolean => !isLocation(id);
const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Metric: mean log-probability, in nats, of the answer tokens that `counts` accepts, without `<s>` and `</s>`. */
function meanLogProb(counts: (id: number) => boolean): RowMetric {
  return (logits, { answerIds }) =>
    tf.tidy(() => {
      const counted: number[] = answerIds.map(id => (id > 2 && counts(id) ? 1 : 0));
      const target = tf.mul(tf.oneHot([...answerIds], logits.shape[2]), tf.expandDims(counted, 1)); // [T, V]
      const sum = tf.sum(tf.mul(tf.logSoftmax(logits), target), [1, 2]) as tf.Tensor1D; // [rows]
      return tf.div(sum, counted.filter(one => one).length) as tf.Tensor1D;
    });
}

/** Returns the question for the objects of a held-out scene, with its true answer. */
function ask(index: number): Promise<Question> {
  const { image, targets } = drawScene(HELD_OUT_SEED, index);
  const { answer } = targets.find(({ task }) => task === '<OD>')!;
  return Question.ask(model, image, '<OD>', { answer: formatAnswer('<OD>', answer, image) });
}

/** Returns how much ablating each head lowers a metric, averaged over the questions. */
async function lossWithout(title: string, metric: RowMetric): Promise<HeatTable> {
  const sweeps: Awaited<ReturnType<typeof ablationSweep>>[] = [];
  for (const question of questions) {
    sweeps.push(await ablationSweep(model, { question, metric, by: meanAblation(caches), over: 'heads', at: heads }));
  }
  const [{ rows, columns, values }] = sweeps;
  const losses = Array.from(values, (_, at) => mean(sweeps.map(({ baseline, values }) => baseline - values[at])));
  return { title, across: 'head', rows: rows.map(layer => `layer ${layer}`), columns, values: losses };
}

const count = Number(process.argv[2] ?? 30);
const questions: Question[] = [];
const caches: ReturnType<typeof captureForced>[] = [];
for (let index = 0; index < count; index++) questions.push(await ask(index));
for (let index = count; index < count + 20; index++) {
  const other = await ask(index);
  caches.push(captureForced(model, other, heads.replace('{layer}', '*')));
  other.dispose();
}
const tables = [
  await lossWithout('Nats lost by a location token', meanLogProb(isLocation)),
  await lossWithout('Nats lost by a token of a word', meanLogProb(isWord)),
];
for (const owner of [...questions, ...caches]) owner.dispose();
model.dispose();

await writeFile(await figurePath('box_heads.svg', process.argv[3]), heatTables(tables));
for (const table of tables) console.log(tableLines(table).join('\n'));
