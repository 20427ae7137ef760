import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeImage } from '../../src/image/decode.ts';
import type { RawImage } from '../../src/image/types.ts';
import { formatAnswer } from '../../src/results/format.ts';
import { parse } from '../../src/results/parse/parse.ts';
import type { TaskResult } from '../../src/results/types.ts';
import type { TaskArguments } from '../../src/text/prompt.ts';
import { TASKS, type Task } from '../../src/text/tasks.ts';
import { SCENE_SIDE, type Suite } from './layout.ts';
import { drawScene, type Scene } from './scene.ts';
import { HELD_OUT_SEED } from './seeds.ts';

/** A request of the demo, and the true answer if it is known. */
export interface DemoRequest extends TaskArguments {
  task: Task;
  /** Name of the image in the files that the demo writes. */
  name: string;
  image: RawImage;
  truth?: TaskResult;
}

/** Returns one request for every task, about the first held-out scenes of a suite with enough things. */
export function sceneRequests(suite: Suite): DemoRequest[] {
  const crowded: NamedScene[] = [];
  const signed: NamedScene[] = [];
  for (let index = 0; crowded.length < 4 || signed.length < 3; index++) {
    const scene = { ...drawScene(HELD_OUT_SEED, index, { suite }), name: `scene-${index}` };
    if (scene.sign && scene.objects.length === 2) signed.push(scene);
    if (scene.objects.length === 3) crowded.push(scene);
  }
  return TASKS.map(({ task }, i) => {
    const { name, image, targets } = task.includes('OCR') ? signed[i % 3] : crowded[i % 4];
    const { text, box, answer } = targets.find(target => target.task === task)!;
    const size = { width: SCENE_SIDE, height: SCENE_SIDE };
    return { task, text, box, name, image, truth: parse(formatAnswer(task, answer, size), task, size) };
  });
}

type NamedScene = Scene & { name: string };

/** Pictures, texts and regions of the requests about docs/pictures. */
const pictureTasks: Record<string, TaskArguments & { picture: string }> = {
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

/** Returns one request for every task, about the pictures in docs/pictures. */
export async function pictureRequests(): Promise<DemoRequest[]> {
  const folder = fileURLToPath(new URL('../../docs/pictures', import.meta.url));
  const images = new Map<string, RawImage>();
  const requests: DemoRequest[] = [];
  for (const { task } of TASKS) {
    const { picture, text, box } = { text: undefined, box: undefined, ...(pictureTasks[task] ?? otherwise) };
    if (!images.has(picture)) images.set(picture, await decodeImage(join(folder, picture)));
    requests.push({ task, text, box, name: basename(picture, '.jpg'), image: images.get(picture)! });
  }
  return requests;
}
