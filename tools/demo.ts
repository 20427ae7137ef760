/**
 * Runs all 15 tasks, prints the results and draws them into out/demo:
 *
 *     npm run demo [-- --model DIR|ID] [--backend NAME]
 *
 * The shipped checkpoint (the default) runs on scenes that it was not trained on; the true answers are printed too, and at
 * the end which answers were right.
 * Other checkpoints run on the pictures in docs/pictures.
 */
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { resultLines } from '../src/cli/print/result.ts';
import { writeWhole } from '../src/files/write.ts';
import { draw, Florence2, type RawImage, taskInfo } from '../src/index.ts';
import { type DemoRequest, pictureRequests, sceneRequests } from './demo/requests.ts';
import { isRight, RIGHT_IOU } from './demo/right.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

async function demo(): Promise<void> {
  const { values } = parseArgs({
    options: { model: { type: 'string', default: 'demo' }, backend: { type: 'string', default: 'auto' } },
  });
  const model = await Florence2.load(values.model, { backend: values.backend as 'auto' });
  console.log(`${values.model} on ${model.backend.name}`);
  const requests =
    resolve(model.folder) === join(root, 'weights/demo') ? sceneRequests('plain') : await pictureRequests();
  const right: boolean[] = [];
  for (const image of new Set(requests.map(request => request.image))) {
    const asked = requests.filter(request => request.image === image);
    right.push(...(await runRequests(model, image, asked)));
  }
  model.dispose();
  if (right.length > 0) {
    const count = right.filter(Boolean).length;
    const rule = `words exact, boxes and outlines with an IoU of at least ${RIGHT_IOU}`;
    console.log(`\n${count} of ${right.length} answers are right (${rule}); the pictures are in out/demo.`);
  }
}

/** Runs the requests about an image. Returns which answers are right, of those whose true answer is known. */
async function runRequests(model: Florence2, image: RawImage, requests: DemoRequest[]): Promise<boolean[]> {
  const right: boolean[] = [];
  const features = await model.encodeImage(image); // once for all tasks
  for (const { task, name, text, box, truth } of requests) {
    const result = await model.run(features, task, { text, box });
    const drawing = join('out/demo', `${name}.${taskInfo(task).name}.png`);
    await writeWhole(join(root, drawing), await draw(image, result));
    console.log(`\n${task} ${text ?? Array.from(box ?? [], Math.round).join(',')} -> ${drawing}`);
    for (const line of resultLines(result)) console.log(`  ${line}`);
    if (!truth) continue;
    for (const line of resultLines(truth)) console.log(`  (true: ${line})`);
    right.push(isRight(truth, result));
  }
  features.dispose();
  return right;
}

await exitOnError(demo);
