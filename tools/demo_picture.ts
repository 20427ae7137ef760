/**
 * Draws docs/demo.png for the README: answers of the demo checkpoint about scenes that it was not trained on, a row for
 * each suite. The scenes are the first ones with three objects, or with a sign and two objects.
 *
 *     npx tsx tools/demo_picture.ts
 */
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { renderText } from '../src/drawing/sharp_text.ts';
import { draw, Florence2, type Task, taskInfo } from '../src/index.ts';
import { SUITES, type Suite } from './demo/layout.ts';
import { sceneRequests } from './demo/requests.ts';

const tasks: Task[] = ['<OD>', '<DENSE_REGION_CAPTION>', '<REFERRING_EXPRESSION_SEGMENTATION>', '<OCR_WITH_REGION>'];
const [tile, gap, heading] = [384, 12, 40];

const model = await Florence2.load('demo');

/** Returns a titled answer for each task, as overlays of one row. */
async function row(suite: Suite, top: number) {
  const requests = sceneRequests(suite);
  const tiles = tasks.map(async (task, column) => {
    const { text, image } = requests.find(request => request.task === task)!;
    const result = await model.run(image, task, { text });
    const drawn = sharp(await draw(image, result, { scores: false })).resize(tile, tile, {
      fit: 'contain',
      position: 'top',
      background: '#ffffff',
    });
    const title = [taskInfo(task).name, text].filter(Boolean).join(': ');
    const left = gap + column * (tile + gap);
    return [
      { input: Buffer.from((await renderText(title, { size: 16, color: '#3f3f46' })).png), left, top: top + 10 },
      { input: await drawn.png().toBuffer(), left, top: top + heading },
    ];
  });
  return (await Promise.all(tiles)).flat();
}

const rowHeight = tile + heading;
const overlays = await Promise.all(SUITES.map((suite, i) => row(suite, i * rowHeight)));
model.dispose();
const size = { width: gap + tasks.length * (tile + gap), height: SUITES.length * rowHeight };
await sharp({ create: { ...size, channels: 3, background: '#ffffff' } })
  .composite(overlays.flat())
  .png({ palette: true, quality: 95 })
  .toFile(fileURLToPath(new URL('../docs/demo.png', import.meta.url)));
