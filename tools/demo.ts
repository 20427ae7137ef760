/**
 * Runs all 15 tasks with the checkpoint in weights/demo on the pictures in docs/pictures, prints the answers and draws
 * them into out/demo:
 *
 *     npm run demo [-- --model DIR|ID] [--backend NAME]
 */
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { writeWhole } from '../src/cli/outputs.ts';
import { reportLines } from '../src/cli/report.ts';
import { decodeImage } from '../src/image/decode.ts';
import { draw, Florence2, TASKS, type TaskArguments } from '../src/index.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The picture of each task, and what is asked about it. */
const questions: Record<string, TaskArguments & { picture: string }> = {
  '<OCR>': { picture: 'sign.jpg' },
  '<OCR_WITH_REGION>': { picture: 'sign.jpg' },
  '<REGION_TO_OCR>': { picture: 'sign.jpg', box: [168, 82, 600, 378] },
  '<CAPTION_TO_PHRASE_GROUNDING>': { picture: 'street.jpg', text: 'A green car in front of a yellow house.' },
  '<REFERRING_EXPRESSION_SEGMENTATION>': { picture: 'street.jpg', text: 'a green car' },
  '<OPEN_VOCABULARY_DETECTION>': { picture: 'shapes.jpg', text: 'a red ball' },
  '<REGION_TO_SEGMENTATION>': { picture: 'shapes.jpg', box: [94, 244, 278, 428] },
  '<REGION_TO_CATEGORY>': { picture: 'shapes.jpg', box: [94, 244, 278, 428] },
  '<REGION_TO_DESCRIPTION>': { picture: 'shapes.jpg', box: [94, 244, 278, 428] },
};
const otherwise = { picture: 'street.jpg' };

async function demo(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: join(root, 'weights/demo') },
      backend: { type: 'string', default: 'auto' },
    },
  });
  const model = await Florence2.load(values.model, { backend: values.backend as 'auto' });
  console.log(`${values.model} on ${model.backend.name}`);
  const asked = TASKS.map(({ task, name }) => ({ task, name, ...(questions[task] ?? otherwise) }));
  const pictures = [...new Set(asked.map(({ picture }) => picture))];
  for (const picture of pictures) {
    const image = await decodeImage(join(root, 'docs/pictures', picture));
    const features = await model.encodeImage(image); // once, for all tasks on this picture
    for (const { task, name, text, box } of asked.filter(question => question.picture === picture)) {
      const result = await model.run(features, task, { text, box });
      const drawing = join('out/demo', `${basename(picture, '.jpg')}.${name}.png`);
      await writeWhole(join(root, drawing), await draw(image, result));
      console.log(`\n${task} ${text ?? box?.toString() ?? ''} -> ${drawing}`);
      for (const line of reportLines(result)) console.log(`  ${line}`);
    }
    features.dispose();
  }
  model.dispose();
}

await exitOnError(demo);
