/**
 * Measures how well a fine-tuned checkpoint detects the new shape of `tools/new_shape.ts` and the known shapes, before
 * and after fine-tuning:
 *
 *     npx tsx tools/measure_shape.ts DIR ADAPTER [--model DIR] [--split test] [--picture FILE] [--backend NAME]
 *
 * DIR is the folder that new_shape.ts wrote. The picture shows the first scenes of the split with three objects.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { openDataset } from '../src/datasets/open.ts';
import type { Split } from '../src/datasets/reading.ts';
import { UsageError } from '../src/errors.ts';
import { writeWhole } from '../src/files/write.ts';
import { Florence2 } from '../src/index.ts';
import type { BackendName } from '../src/runtime/backend.ts';
import { drawBeforeAfter } from './demo/before_after.ts';
import { detect, shapeFigures } from './demo/measure_shape.ts';
import { NEW_SHAPE } from './demo/shape_dataset.ts';

const pictured = 4; // scenes

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      model: { ...text, default: 'demo' },
      picture: text,
      split: { ...text, default: 'test' },
      backend: { ...text, default: 'auto' },
    },
  });
  const [folder, adapter] = positionals;
  if (positionals.length !== 2)
    throw new UsageError('Name two folders: the datasets that new_shape.ts wrote, and the adapter.');
  const split = values.split as Split;
  const [withNew, without] = await Promise.all([
    openDataset(folder, { split, tasks: ['<OD>'] }),
    openDataset(join(folder, 'old'), { split, tasks: ['<OD>'] }),
  ]);
  const florence = await Florence2.load(values.model, { backend: values.backend as BackendName | 'auto' });
  const look = async () => [await detect(florence, withNew), await detect(florence, without)] as const;
  const before = await look();
  await florence.loadAdapter(adapter);
  const after = await look();
  florence.dispose();

  const [was, is] = [shapeFigures(...before), shapeFigures(...after)];
  const row = (...cells: string[]) => console.log(cells.map((cell, i) => (i ? cell.padStart(8) : cell.padEnd(34))).join('')); // biome-ignore format: one line
  row('mAP50 of <OD>', 'before', 'after');
  row(`${NEW_SHAPE}s, on ${withNew.length} scenes`, was.newShape.toFixed(3), is.newShape.toFixed(3));
  row(`other objects, on ${without.length} scenes without`, was.known.toFixed(3), is.known.toFixed(3));
  if (values.picture === undefined) return;
  const shown = before[0].flatMap(({ truth }, i) => (truth.length === 3 ? [i] : [])).slice(0, pictured);
  if (shown.length === 0) throw new UsageError(`No ${split} scene has three objects, so --picture cannot be drawn.`);
  const pick = <T>(list: readonly T[]): T[] => shown.map(i => list[i]);
  await writeWhole(values.picture, await drawBeforeAfter(pick(before[0]), pick(after[0])));
}

await exitOnError(main);
