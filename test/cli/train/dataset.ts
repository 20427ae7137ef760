import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../weights/temporary.ts';

const picture = fileURLToPath(new URL('../../../docs/pictures/shapes.jpg', import.meta.url));

/** Writes a dataset with captions, given the number of images per split. Returns its folder. */
export function writeDataset(splits: Record<string, number>): string {
  const folder = temporaryFolder();
  for (const [split, count] of Object.entries(splits)) {
    mkdirSync(join(folder, split));
    const lines = Array.from({ length: count }, (_, i) => {
      copyFileSync(picture, join(folder, split, `${i}.jpg`));
      return JSON.stringify({ image: `${i}.jpg`, prefix: '<CAPTION>', suffix: `a red circle` });
    });
    writeFileSync(join(folder, split, 'annotations.jsonl'), `${lines.join('\n')}\n`);
  }
  return folder;
}
