import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { exitOnError } from '../src/cli/exit.ts';
import { UsageError } from '../src/errors.ts';
import { writeWhole } from '../src/files/write.ts';
import { randomStream } from '../src/random.ts';
import { wholeNumber } from './arguments.ts';

const usage = `Writes a dataset of many images, to measure how long it takes to check one: half JPEG, half PNG, 768×512, with one to
five boxes of four classes each.

  npx tsx tools/many_images.ts DIR COUNT`;

const [WIDTH, HEIGHT] = [768, 512];
const LABELS = ['car', 'bus', 'bicycle', 'pedestrian'];
const AT_ONCE = 16;

await exitOnError(async () => {
  const [folder, count, ...rest] = process.argv.slice(2);
  if (count === undefined || rest.length > 0) throw new UsageError(usage);
  const images = wholeNumber('COUNT', count, 1);
  const random = randomStream(0, 'many images');
  const train = join(folder, 'train');
  await mkdir(train, { recursive: true });
  const create = { width: WIDTH, height: HEIGHT, channels: 3 as const, background: '#7a5' };
  await sharp({ create }).jpeg().toFile(join(train, '0.jpg'));
  await sharp({ create }).png().toFile(join(train, '1.png'));
  const names = Array.from({ length: images }, (_, i) => `${i}.${i % 2 === 0 ? 'jpg' : 'png'}`);
  for (let first = 2; first < images; first += AT_ONCE) {
    const copies = names.slice(first, first + AT_ONCE);
    await Promise.all(
      copies.map(name => copyFile(join(train, name.endsWith('jpg') ? '0.jpg' : '1.png'), join(train, name))),
    );
  }
  const box = (): number[] => {
    const [x, y] = [Math.floor(random() * (WIDTH - 64)), Math.floor(random() * (HEIGHT - 64))];
    return [x, y, x + 8 + Math.floor(random() * 56), y + 8 + Math.floor(random() * 56)];
  };
  const lines = names.map(image => {
    const boxes = Array.from({ length: 1 + Math.floor(random() * 5) }, () => ({
      label: LABELS[Math.floor(random() * LABELS.length)],
      box: box(),
    }));
    return `${JSON.stringify({ image, task: '<OD>', answer: { boxes } })}\n`;
  });
  await writeWhole(join(train, 'annotations.jsonl'), Buffer.from(lines.join('')));
  console.log(`${images} images in ${train}`);
});
