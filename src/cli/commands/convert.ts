import { Command, Option } from 'commander';
import { DATASET_FORMATS } from '../../datasets/annotation.ts';
import type { ConvertFlags } from '../actions/convert.ts';

/** `florence2 convert`: writes a dataset in another format. */
export function convertCommand(): Command {
  return new Command('convert')
    .summary('write a dataset in another format')
    .description(
      'Reads a dataset in any of the formats, which is recognised by its files, and writes it in another one to a new ' +
        'folder. Lists what the format cannot hold. Images stay where they are, or are copied or linked.',
    )
    .argument('<in>', 'folder or file of annotations')
    .argument('<out>', 'folder to write, which must not exist or be empty')
    .addOption(new Option('--to <format>', 'format to write').choices(DATASET_FORMATS).makeOptionMandatory())
    .addOption(new Option('--from <format>', 'format of the input; needed only for yolo-obb').choices(DATASET_FORMATS))
    .addOption(new Option('--split <name>', 'only this split; default: all').choices(['train', 'valid', 'test']))
    .option('--copy', 'copy the images into the new folder')
    .addOption(new Option('--link', 'make symbolic links to the images').conflicts('copy'))
    .option('--image-root <dir>', 'folder of the images, if it is not within the dataset')
    .option('--crowds', 'read all COCO annotations with iscrowd: 1 as crowds')
    .addOption(new Option('--no-crowds', 'read them as single objects'))
    .addOption(
      new Option('--on-error <how>', 'stop at the first invalid entry, or skip it')
        .choices(['stop', 'skip'])
        .default('stop'),
    )
    .addHelpText('after', EXAMPLES)
    .action(async (input: string, output: string, flags: ConvertFlags) => {
      const { runConvert } = await import('../actions/convert.ts');
      await runConvert(input, output, flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 convert exports/project.json data/dents --to jsonl --copy
  $ florence2 convert data/yolo data/coco --to coco
  $ florence2 convert data/coco data/yolo --to yolo-seg --link --split train`;
