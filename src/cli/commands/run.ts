import { Command, Option } from 'commander';
import type { RunFlags } from '../actions/run.ts';
import { addAnswerOptions } from '../answer_options.ts';
import { count, list, share } from '../kinds.ts';
import { addImageOptions, addModelOptions, collect, IMAGES_HELP, parseBox, parser } from '../options.ts';
import type { LayoutFormat } from '../print/layout.ts';

const LAYOUT_FORMATS: LayoutFormat[] = ['text', 'json', 'hocr', 'alto'];

/** `florence2 run`: runs one or more tasks on images. */
export function runCommand(): Command {
  const command = new Command('run')
    .summary('run tasks on images: captions, boxes, polygons, text')
    .description('Runs one or more tasks on each image. Each image is encoded once, whatever the number of tasks.')
    .argument('<image...>', IMAGES_HELP)
    .option('-t, --task <name>', 'task by name or token (od, caption, "<OCR>"); repeatable', collect)
    .option('-p, --prompt <text>', 'custom prompt, passed to the model unchanged; repeatable', collect)
    .option('--text <text>', 'text input of a task: a caption, a phrase or class names')
    .option('--box <x1,y1,x2,y2>', 'region input of a task, in pixels', parseBox)
    .option(
      '--classes <names>',
      'comma-separated class names: od prints only these; open-vocabulary-detection, grounding and --semantic ask for them',
      parser(list),
    );
  return addAnswerOptions(addImageOptions(addModelOptions(command)))
    .addOption(
      new Option(
        '--precision <name>',
        'precision of the vision tower and the encoder; bf16 is faster and less exact (tensorflow on a CPU)',
      ).choices(['fp32', 'bf16']),
    )
    .option('--min-score <score>', 'omit boxes, polygons and quads with a lower confidence (0 to 1)', parser(share))
    .option('--json', 'print JSON Lines: one object per image and task')
    .addOption(
      new Option('--layout <format>', 'print the text in reading order (ocr-with-region)').choices(LAYOUT_FORMATS),
    )
    .option('--draw <path>', 'draw the results: a PNG file, or a folder, which gets a file per image and task')
    .option('--masks <dir>', 'write a PNG mask of each polygon instance to this folder')
    .option(
      '--semantic <dir>',
      'write a map of --classes for each image to this folder (referring-segmentation): PNG, .npy',
    )
    .option('--pages <list>', 'pages of PDF files: 2, 1-3,5 or 4-; default: all')
    .option('--dpi <n>', 'dots per inch of pages of PDF files; default: 150', parser(count))
    .option('--batch <n>', 'images or tiles per batch', parser(count), 1)
    .option('--tiles <pixels>', 'read large images in tiles of this side too, and merge the places', parser(count))
    .option('--overlap <part>', 'part of its side that a tile shares with the next; default: 0.2', parser(share))
    .addHelpText('after', EXAMPLES)
    .action(async (images: string[], flags: RunFlags) => {
      const { runTasks } = await import('../actions/run.ts');
      await runTasks(images, flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 run photo.jpg --task od --draw boxes.png
  $ florence2 run photo.jpg --task caption --task ocr-with-region --json
  $ florence2 run photo.jpg --task grounding --text "A green car in front of a yellow building."
  $ florence2 run photo.jpg --task od --classes "car, bus"
  $ florence2 run photo.jpg --task open-vocabulary-detection --classes "red car, traffic light"
  $ florence2 run photo.jpg --task region-category --box 34,160,597,371
  $ florence2 run photos/ --task dense-region-caption --batch 4 --json > answers.jsonl
  $ florence2 run aerial.jpg --task od --tiles 768 --overlap 0.2 --draw objects.png
  $ florence2 run street.jpg --semantic maps --classes "road, car, tree"
  $ florence2 run page.png --layout hocr > page.hocr
  $ curl -s https://example.org/photo.jpg | florence2 run - --task caption
  $ florence2 run paper.pdf --pages 1-3 --layout text
  $ florence2 run scan.png --model ./my-finetune --prompt "<DocVQA>What is the total?"
The model "demo" was trained only on drawn shapes and printed words. It needs no download:
  $ florence2 run shapes.png --model demo --task caption --task od

Tasks without input: caption, detailed-caption, more-detailed-caption, od, dense-region-caption, region-proposal,
  ocr, ocr-with-region
Tasks with --text: grounding, referring-segmentation, open-vocabulary-detection
Tasks with --box: region-segmentation, region-category, region-description, region-ocr`;
