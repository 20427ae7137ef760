/**
 * Writes the datasets of docs/fine-tuning.md as JSON lines: DIR/{train,valid,test} with a shape that the demo
 * checkpoint has never seen, and DIR/old/{train,valid,test} with known shapes, to be replayed:
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
  if (positionals.length !== 1) throw new UsageError('Name the folder to write the datasets to.');
  if (existsSync(folder)) throw new UsageError(`${folder} already exists. Name a new folder.`);
  const size = (name: keyof typeof values): number => wholeNumber(name, values[name], 1);
  const sizes = { train: size('train'), valid: size('valid'), test: size('test'), replay: size('replay') };
  await writeShapeDatasets(folder, sizes);
  console.log(`${folder}: scenes with a ${NEW_SHAPE}, ${sizes.train} for training, ${sizes.test} for testing`);
  console.log(`${folder}/old: scenes without, ${sizes.replay} for replay, ${sizes.test} for testing`);
}

await exitOnError(main);
