/**
 * Draws docs/demo.png for the README: answers of the demo checkpoint about scenes that it was not trained on, a row for
 * each suite. The scenes are the first ones with three objects, or with a sign and two objects.
 *
 *     npx tsx tools/demo_picture.ts
 */
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { drawSheet, type Tile } from '../src/drawing/sharp_sheet.ts';
import { Florence2, type Task, taskInfo } from '../src/index.ts';
import { SUITES } from './demo/layout.ts';
import { sceneRequests } from './demo/requests.ts';

const tasks: Task[] = ['<OD>', '<DENSE_REGION_CAPTION>', '<REFERRING_EXPRESSION_SEGMENTATION>', '<OCR_WITH_REGION>'];
const model = await Florence2.load('demo');
const tiles: Tile[] = [];
for (const suite of SUITES) {
  const requests = sceneRequests(suite);
  for (const task of tasks) {
    const { text, image } = requests.find(request => request.task === task)!;
    const title = [taskInfo(task).name, text].filter(Boolean).join(': ');
    tiles.push({ title, image, results: [await model.run(image, task, { text })] });
  }
}
model.dispose();
const file = fileURLToPath(new URL('../docs/demo.png', import.meta.url));
await writeFile(file, await drawSheet(tiles, tasks.length, { scores: false }));
