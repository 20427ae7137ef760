import { Command } from 'commander';
import type { InspectFlags } from '../actions/inspect.ts';
import { addAnswerOptions, addImageOptions, addModelOptions, addQuestionOptions, parseBox } from '../options.ts';

/** `florence2 inspect`: a page that shows how an answer came about. */
export function inspectCommand(): Command {
  const command = new Command('inspect')
    .summary('write a page that shows how an answer came about')
    .description(
      'Asks one task about one image and writes a page with everything in it, to be opened in any browser: the answer ' +
        'token by token with probabilities and alternatives, where cross-attention looked for each, head by head, the ' +
        'boxes with the tokens that say them, the logit lens, and the norms of all blocks.',
    )
    .argument('<image>', 'an image file or URL')
    .requiredOption('-o, --out <file>', 'the page, an .html file');
  addQuestionOptions(command).option('--box <x1,y1,x2,y2>', 'the region of a task that takes one, in pixels', parseBox);
  return addAnswerOptions(addImageOptions(addModelOptions(command)))
    .addHelpText('after', EXAMPLES)
    .action(async (image: string, flags: InspectFlags) => {
      const { runInspect } = await import('../actions/inspect.ts');
      await runInspect(image, flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 inspect street.jpg --task "<CAPTION>" --out report.html
  $ florence2 inspect street.jpg --task grounding --text "A green car in front of a yellow building." --out report.html
  $ florence2 inspect street.jpg --task region-segmentation --box 34,160,597,371 --out car.html
  $ florence2 inspect street.jpg --task od --model ./my-finetune --adapter runs/dents/best --out dents.html`;
