/**
 * Draws docs/demo.png for the README: answers of the demo checkpoint about scenes that it was not trained on, the first ones
 * with three objects, or with a sign and two objects.
 *
 *     npx tsx tools/demo_picture.ts
 */
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { renderText } from '../src/drawing/sharp_text.ts';
import { draw, Florence2, type Task, taskInfo } from '../src/index.ts';
import { sceneRequests } from './demo/requests.ts';

const tasks: Task[] = ['<OD>', '<DENSE_REGION_CAPTION>', '<REFERRING_EXPRESSION_SEGMENTATION>', '<OCR_WITH_REGION>'];
const [tile, gap, heading] = [384, 12, 40];

const model = await Florence2.load('demo');
const requests = sceneRequests('plain');
const overlays = await Promise.all(
  tasks
    .map(task => requests.find(request => request.task === task)!)
    .map(async ({ task, text, image }, column) => {
      const result = await model.run(image, task, { text });
      const drawn = sharp(await draw(image, result, { scores: false })).resize(tile, tile, {
        fit: 'contain',
        position: 'top',
        background: '#ffffff',
      });
      const title = await renderText([taskInfo(task).name, text].filter(Boolean).join(': '), {
        size: 16,
        color: '#3f3f46',
      });
      const left = gap + column * (tile + gap);
      return [
        { input: title.png, left, top: 10 },
        { input: await drawn.png().toBuffer(), left, top: heading },
      ];
    }),
);
model.dispose();
const size = { width: gap + overlays.length * (tile + gap), height: tile + heading };
await sharp({ create: { ...size, channels: 3, background: '#ffffff' } })
  .composite(overlays.flat().map(({ input, ...place }) => ({ input: Buffer.from(input), ...place })))
  .png({ palette: true, quality: 95 })
  .toFile(fileURLToPath(new URL('../docs/demo.png', import.meta.url)));
