import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { Florence2Error } from '../../errors.ts';
import { readTextFile } from '../../files/whole_file.ts';
import { imagesInFolder } from '../find_images.ts';
import { newImage, type ReadContext, type ReadImage, type ReadSet } from '../reading.ts';

/** Returns the path of the caption of an image. */
export const captionFile = (image: string): string => `${image.slice(0, image.length - extname(image).length)}.txt`;

/**
 * Reads a folder of images, each with a caption in a .txt file of the same name. White space around a caption does not
 * belong to it. Images without a caption are kept, with a warning.
 *
 * @throws Florence2Error if the files hold numbers, which are YOLO's labels without their data.yaml
 */
export async function readImageText(folder: string, { images: places, onProblem }: ReadContext): Promise<ReadSet> {
  const finder = places.within(folder);
  const images: ReadImage[] = [];
  let bare = 0;
  let numbers = 0;
  for (const path of await imagesInFolder(folder)) {
    const file = captionFile(path);
    const image = newImage(path, finder.nameOf(path), existsSync(file) ? file : path);
    images.push(image);
    const text = existsSync(file) ? (await readTextFile(file)).replace(/^\uFEFF/, '').trim() : '';
    if (text === '') {
      bare++;
      continue;
    }
    if (/^[\d.\s+-]+$/.test(text)) numbers++;
    image.captions.push(text);
  }
  if (numbers > 0 && numbers === images.length - bare) {
    throw new Florence2Error(`${folder}: The .txt files hold numbers. YOLO's labels need a data.yaml with the names.`);
  }
  if (bare > 0) {
    const message = `${bare} of ${images.length} images have no caption.`;
    onProblem({ severity: 'warning', source: folder, message });
  }
  return { name: folder, format: 'txt', images, subjects: ['captions'], frame: 'stored' };
}
