/**
 * Times activation patching over every head of every decoder layer, batched and one by one, with random weights:
 *
 *     npx tsx bench/patching.ts [--shape base|large|tiny] [--backend NAME] [--rounds N] [--batch 8,32] [--image-size N]
 *
 * One by one is the same sweep with batch size 1. All batch sizes run in turns. Writes
 * bench/results/patching-SHAPE-BACKEND.json.
 */
import { parseArgs } from 'node:util';
import { answerLogProb, Florence2, type PatchGrid, patchSweep, Question } from '../src/index.ts';
import { type BackendName, useBackend } from '../src/runtime/backend.ts';
import { picture, withRandomCheckpoint } from './inputs.ts';
import { paired } from './paired.ts';
import { Figures, writeReport } from './report.ts';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'base' },
    backend: { type: 'string', default: 'auto' },
    rounds: { type: 'string', default: '3' },
    batch: { type: 'string', default: '8,32' },
    'image-size': { type: 'string' },
  },
});
const rounds = Number(values.rounds);
const sizes = values.batch.split(',').map(Number);
const figures = new Figures();
const { record } = figures;
const sweeps = {
  'self-attention': 'language_model.decoder.layers.{layer}.self_attn.hook_z',
  'cross-attention': 'language_model.decoder.layers.{layer}.encoder_attn.hook_z',
};
const blank = { data: new Uint8Array(3 * 64 * 64).fill(128), width: 64, height: 64 };

/**
 * Returns the largest difference between two grids, relative to the difference of the clean and the corrupted question.
 */
function gap(one: PatchGrid, other: PatchGrid): number {
  const largest = one.values.reduce((max, value, i) => Math.max(max, Math.abs(value - other.values[i])), 0);
  return largest / Math.abs(one.clean - one.corrupted);
}

await withRandomCheckpoint({ shape: values.shape as 'base' }, async folder => {
  const backend = await useBackend(values.backend as BackendName);
  const imageSize = values['image-size'] === undefined ? undefined : Number(values['image-size']);
  const model = await Florence2.load(folder, { backend: backend.name, imageSize });
  const answer = 'A green car parked in front of a yellow building';
  const clean = await Question.ask(model, picture, '<CAPTION>', { answer });
  const corrupted = await Question.ask(model, blank, '<CAPTION>', { answer });
  const subject = { clean, corrupted, metric: answerLogProb(), over: 'heads' } as const;
  for (const [what, at] of Object.entries(sweeps)) {
    const grids = new Map<string, PatchGrid>();
    const way = (batchSize: number) => async () => {
      grids.set(String(batchSize), await patchSweep(model, { ...subject, at, batchSize }));
    };
    const timed = await paired(Object.fromEntries([1, ...sizes].map(size => [`batch ${size}`, way(size)])), rounds);
    const alone = grids.get('1')!;
    if (!('interventions' in figures.values)) record('interventions', alone.values.length);
    for (const [name, { ms, ratio }] of Object.entries(timed)) {
      record(`${what}: s per sweep, ${name}`, ms / 1000);
      if (name !== 'batch 1') record(`${what}: times faster than one by one, ${name}`, 1 / ratio);
    }
    for (const size of sizes) {
      const difference = gap(alone, grids.get(String(size))!);
      if (difference > 1e-3) throw new Error(`The sweep with batch size ${size} differs by ${difference}.`);
    }
  }
  clean.dispose();
  corrupted.dispose();
  model.dispose();
  await writeReport(`patching-${values.shape}-${backend.name}`, {
    rounds,
    tokens: clean.answerIds.length,
    figures: figures.values,
  });
});
