/**
 * Draws the README's picture: answers written by hand, in the model's own format, parsed and drawn like any other.
 *
 *     npx tsx tools/readme_picture.ts
 */
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { decodeImage } from '../src/image/decode.ts';
import { boxToTokens, draw, parse, pointsToTokens, type Task } from '../src/index.ts';

const picture = (name: string) => fileURLToPath(new URL(`../docs/pictures/${name}`, import.meta.url));
const size = { width: 768, height: 512 };
const box = (label: string, ...corners: number[]) => `${label}${boxToTokens(corners, size)}`;
const points = (label: string, ...corners: number[]) => `${label}${pointsToTokens(corners, size)}`;

const answers: [name: string, task: Task, answer: string][] = [
  [
    'street.jpg',
    '<OD>',
    box('car', 112, 258, 634, 464) +
      box('wheel', 182, 378, 268, 464) +
      box('wheel', 486, 378, 572, 464) +
      box('door', 188, 128, 314, 330) +
      box('door', 444, 128, 570, 330) +
      box('window', 28, 140, 156, 256) +
      box('plant', 670, 206, 754, 362),
  ],
  [
    'sign.jpg',
    '<OCR_WITH_REGION>',
    points('COFFEE & CAKE', 214, 146, 554, 146, 554, 190, 214, 190) +
      points('OPEN DAILY', 278, 250, 490, 250, 490, 290, 278, 290) +
      points('8 am – 6 pm', 298, 298, 470, 298, 470, 336, 298, 336),
  ],
  [
    'shapes.jpg',
    '<OPEN_VOCABULARY_DETECTION>',
    `${points('blue cube<poly>', 306, 232, 384, 198, 480, 220, 480, 358, 408, 400, 306, 370)}</poly>` +
      `${points('green cone<poly>', 668, 192, 730, 360, 700, 372, 668, 375, 624, 370, 624, 310)}</poly>`,
  ],
];

const drawings = await Promise.all(
  answers.map(async ([name, task, answer]) => {
    const image = await decodeImage(picture(name));
    return draw(image, parse(answer, task, image));
  }),
);
await sharp({ create: { width: size.width * drawings.length, height: size.height, channels: 3, background: 'white' } })
  .composite(drawings.map((input, i) => ({ input: Buffer.from(input), left: i * size.width, top: 0 })))
  .png()
  .toBuffer()
  .then(whole => sharp(whole).resize(1536).png({ palette: true, quality: 90 }).toFile(picture('../drawing.png')));
