import { Command, Option } from 'commander';
import type { RunFlags } from '../actions/run.ts';
import { count, share } from '../kinds.ts';
import { addAnswerOptions, addImageOptions, addModelOptions, collect, parseBox, parser } from '../options.ts';

/** `florence2 run`: ask one or more tasks about images. */
export function runCommand(): Command {
  const command = new Command('run')
    .summary('ask tasks about images')
    .description('Asks one or more tasks about each image. An image is encoded once, however many tasks follow.')
    .argument('<image...>', 'image files, folders, patterns or URLs')
    .option('-t, --task <name>', 'a task by name or token (od, caption, "<OCR>"); may be repeated', collect)
    .option('-p, --prompt <text>', 'a prompt of your own, passed to the model as it is; may be repeated', collect)
    .option('--text <text>', 'the caption, phrase or class names of a task that takes a text')
    .option('--box <x1,y1,x2,y2>', 'the region of a task that takes one, in pixels', parseBox);
  return addAnswerOptions(addImageOptions(addModelOptions(command)))
    .addOption(new Option('--precision <name>', 'of products of many rows, on tensorflow').choices(['fp32', 'bf16']))
    .option('--min-score <score>', 'leave out boxes, polygons and quads below this, 0 to 1', parser(share))
    .option('--json', 'print JSON Lines, one object for each image and task')
    .option('--draw <path>', 'draw results: a PNG file, or a folder where there are several images')
    .option('--masks <dir>', 'write a mask PNG for each polygon instance into a folder')
    .option('--batch <n>', 'images to run together', parser(count), 1)
    .addHelpText('after', EXAMPLES)
    .action(async (images: string[], flags: RunFlags) => {
      const { runTasks } = await import('../actions/run.ts');
      await runTasks(images, flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 run street.jpg --task od --draw boxes.png
  $ florence2 run street.jpg --task caption --task ocr-with-region --json
  $ florence2 run street.jpg --task grounding --text "A green car in front of a yellow building."
  $ florence2 run street.jpg --task region-category --box 34,160,597,371
  $ florence2 run photos/ --task dense-region-caption --batch 4 --json > answers.jsonl
  $ florence2 run scan.png --model ./my-finetune --prompt "<DocVQA>What is the total?"

Tasks without input: caption, detailed-caption, more-detailed-caption, od, dense-region-caption, region-proposal,
  ocr, ocr-with-region
Tasks with --text: grounding, referring-segmentation, open-vocabulary-detection
Tasks with --box: region-segmentation, region-category, region-description, region-ocr`;
