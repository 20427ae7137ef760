/**
 * Compares bf16 with fp32: the answers of the demo checkpoint on scenes that are not in its training set, and the time
 * of the base shape's vision tower:
 *
 *     npx tsx bench/precision.ts [--scenes 200] [--rounds 5]
 *
 * Writes bench/results/precision.json.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Florence2, type GeneratedSequence, type ImageFeatures } from '../src/index.ts';
import { promptOf } from '../src/text/prompt.ts';
import { drawScene } from '../tools/demo/scene.ts';
import { HELD_OUT_SEED } from '../tools/demo/seeds.ts';
import { picture, withRandomCheckpoint } from './inputs.ts';
import { paired } from './paired.ts';
import { Figures, writeReport } from './report.ts';

const { values } = parseArgs({
  options: { scenes: { type: 'string', default: '200' }, rounds: { type: 'string', default: '5' } },
});
const scenes = Number(values.scenes);
const demo = fileURLToPath(new URL('../weights/demo', import.meta.url));
const figures = new Figures();
const { record } = figures;

const load = (folder: string) =>
  Promise.all(
    (['fp32', 'bf16'] as const).map(precision => Florence2.load(folder, { backend: 'tensorflow', precision })),
  );

const models = await load(demo);
for (const task of ['<CAPTION>', '<OD>', '<OCR_WITH_REGION>'] as const) {
  let [same, apart] = [0, 0];
  for (let i = 0; i < scenes; i++) {
    const { image } = drawScene(HELD_OUT_SEED, i);
    const answers: GeneratedSequence[] = [];
    for (const model of models) {
      const features: ImageFeatures = await model.encodeImage(image);
      const [[answer]] = await model.generate([features], [promptOf(task, {}, image)], { numBeams: 1 });
      features.dispose();
      answers.push(answer);
    }
    const [exact, coarse] = answers;
    if (String(exact.ids) !== String(coarse.ids)) continue;
    same++;
    apart += Math.abs(exact.score - coarse.score) / exact.logProbs.length;
  }
  record(`${task}: answers with the same tokens, %`, (100 * same) / scenes);
  record(`${task}: difference of log-probability per token`, apart / same);
}
for (const model of models) model.dispose();

await withRandomCheckpoint({ shape: 'base' }, async folder => {
  const [exact, coarse] = await load(folder);
  const see = (model: Florence2) => async () => (await model.encodeImage(picture)).dispose();
  const timed = await paired({ fp32: see(exact), bf16: see(coarse) }, Number(values.rounds));
  record('vision, base: fp32 ms', timed.fp32.ms);
  record('vision, base: bf16 ms', timed.bf16.ms);
  record('vision, base: bf16 / fp32', timed.bf16.ratio);
  exact.dispose();
  coarse.dispose();
  await writeReport('precision', { scenes, rounds: Number(values.rounds), figures: figures.values });
});
