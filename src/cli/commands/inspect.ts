import { Command } from 'commander';
import type { InspectFlags } from '../actions/inspect.ts';
import { addAnswerOptions } from '../answer_options.ts';
import { addImageOptions, addModelOptions, addOutOption, addQuestionOptions, parseBox } from '../options.ts';

/** `florence2 inspect`: writes a page about how one answer was computed. */
export function inspectCommand(): Command {
  const command = new Command('inspect')
    .summary('write an HTML page that shows how an answer was computed')
    .description(
      'Runs one task on one image and writes one HTML file for any browser. It shows the answer token by token with ' +
        'probabilities and alternatives, the cross-attention of each token head by head, the boxes with their location ' +
        'tokens, the logit lens, and the norms of all blocks.',
    )
    .argument('<image>', 'image file, URL, or - for standard input');
  addOutOption(command, '<file>', 'output file (.html)');
  addQuestionOptions(command).option('--box <x1,y1,x2,y2>', 'region input of a task, in pixels', parseBox);
  return addAnswerOptions(addImageOptions(addModelOptions(command)))
    .addHelpText('after', EXAMPLES)
    .action(async (image: string, flags: InspectFlags) => {
      const { runInspect } = await import('../actions/inspect.ts');
      await runInspect(image, flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 inspect photo.jpg --task "<CAPTION>" --out report.html
  $ florence2 inspect photo.jpg --task grounding --text "A green car in front of a yellow building." --out report.html
  $ florence2 inspect photo.jpg --task region-segmentation --box 34,160,597,371 --out car.html
  $ florence2 inspect photo.jpg --task od --model ./my-finetune --adapter runs/dents/best --out dents.html`;
