/**
 * Writes what the demo checkpoint is taught in docs/fine-tuning.md, a shape that it has never seen, as datasets of
 * JSON lines: DIR/{train,valid,test}, and DIR/old/{train,valid,test} with what it knows, to be replayed:
 *
 *     npx tsx tools/new_shape.ts DIR [--train N] [--valid N] [--test N] [--replay N]
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { UsageError } from '../src/errors.ts';
import { wholeNumber } from './arguments.ts';
import { NEW_SHAPE, writeShapeDatasets } from './demo/shape_dataset.ts';

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      train: { type: 'string', default: '100' },
      valid: { type: 'string', default: '20' },
      test: { type: 'string', default: '200' },
      replay: { type: 'string', default: '400' },
    },
  });
  const [folder] = positionals;
  if (positionals.length !== 1) throw new UsageError('Give the folder that the datasets are to be written to.');
  if (existsSync(folder)) throw new UsageError(`${folder} is there already: name a new folder.`);
  const size = (name: keyof typeof values): number => wholeNumber(name, values[name], 1);
  const sizes = { train: size('train'), valid: size('valid'), test: size('test'), replay: size('replay') };
  await writeShapeDatasets(folder, sizes);
  console.log(`${folder}: ${sizes.train} scenes with a ${NEW_SHAPE} to learn from, ${sizes.test} to measure it on`);
  console.log(`${folder}/old: ${sizes.replay} scenes without to replay, ${sizes.test} to measure what is kept`);
}

await exitOnError(main);
