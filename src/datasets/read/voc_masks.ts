import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { readTextFile } from '../../files/whole_file.ts';
import { boxIou } from '../../geometry/iou.ts';
import { type Mask, maskBounds } from '../../geometry/masks.ts';
import { encodeRle } from '../../geometry/rle.ts';
import type { BoxCoordinates } from '../../geometry/types.ts';
import { decodeImage } from '../../image/decode.ts';
import { show } from '../../show.ts';
import type { LabelledObject } from '../annotation.ts';
import { addObject, type ReadContext, type ReadImage } from '../reading.ts';

/** The classes of Pascal VOC, which files without labelmap.txt have. */
const VOC_CLASSES = [
  ...[
    'background',
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'diningtable',
  ],
  ...['dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor'],
];

/** Returns the colour of a number in the masks of Pascal VOC: its bits are spread over the three channels. */
function vocColor(number: number): number {
  let [r, g, b] = [0, 0, 0];
  for (let bit = 0; bit < 8; bit++) {
    r |= ((number >> (3 * bit)) & 1) << (7 - bit);
    g |= ((number >> (3 * bit + 1)) & 1) << (7 - bit);
    b |= ((number >> (3 * bit + 2)) & 1) << (7 - bit);
  }
  return (r << 16) | (g << 8) | b;
}

/** Colours of pixels that belong to no object. */
const [BACKGROUND, BORDER] = [vocColor(0), vocColor(255)];

/** Returns labels by colour: those of `labelmap.txt` (`label:red,green,blue:parts:actions`), else of Pascal VOC. */
async function readColors(root: string): Promise<Map<number, string>> {
  const file = join(root, 'labelmap.txt');
  if (!existsSync(file)) return new Map(VOC_CLASSES.map((label, number) => [vocColor(number), label]));
  const lines = (await readTextFile(file)).split(/\r?\n/).filter(line => line.trim() !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line, number) => {
      const [, label, color] = /^(.*?):([^:]*)(:|$)/.exec(line) ?? ['', line, ''];
      const [r, g, b] = color.split(',').map(Number);
      return [color.trim() === '' ? vocColor(number) : (r << 16) | (g << 8) | b, label];
    }),
  );
}

/**
 * Adds the masks of `SegmentationObject`, whose labels `SegmentationClass` has, to the objects of images. A mask belongs
 * to the object of its label with the largest IoU of the boxes, from 0.5 on; others become objects. Without
 * `SegmentationObject` each class of an image without other objects is one object, with a warning.
 *
 * @param root the folder with `SegmentationClass`
 */
export async function addMasks(root: string, images: readonly ReadImage[], context: ReadContext): Promise<void> {
  if (!existsSync(join(root, 'SegmentationClass'))) return;
  const colors = await readColors(root);
  let merged = 0;
  for (const image of images) {
    if (!context.outlines && image.objects.length > 0) continue; // the boxes are known
    const name = `${image.file.replace(/\.[^./]*$/, '')}.png`;
    const [classFile, objectFile] = ['SegmentationClass', 'SegmentationObject'].map(folder => join(root, folder, name));
    const hasObjects = existsSync(objectFile);
    if (!existsSync(classFile) || (!hasObjects && image.objects.length > 0)) continue;
    if (!hasObjects) merged++;
    try {
      const parts = await partsOf(classFile, hasObjects ? objectFile : classFile, colors);
      for (const part of parts) addPart(image, part, classFile, context);
    } catch (error) {
      if (!(error instanceof Florence2Error)) throw error;
      context.onProblem({ severity: 'error', source: classFile, message: error.message });
    }
  }
  if (merged === 0) return;
  const message = `${merged} images have classes of pixels, but no SegmentationObject: each class is one object.`;
  context.onProblem({ severity: 'warning', source: join(root, 'SegmentationClass'), message });
}

type Part = LabelledObject & { mask: NonNullable<LabelledObject['mask']> };

/** Returns the parts of a picture of one colour each, with their labels. */
async function partsOf(classFile: string, partFile: string, colors: ReadonlyMap<number, string>): Promise<Part[]> {
  const [classes, picture] = [await decodeImage(classFile), await decodeImage(partFile)];
  const { width, height } = picture;
  if (classes.width !== width || classes.height !== height) {
    throw new UsageError(`It has ${classes.width}x${classes.height} pixels, but ${partFile} ${width}x${height}.`);
  }
  const colorAt = ({ data }: typeof picture, i: number): number =>
    (data[3 * i] << 16) | (data[3 * i + 1] << 8) | data[3 * i + 2];
  const parts = new Map<number, Mask & { label?: string }>();
  for (let i = 0; i < width * height; i++) {
    const color = colorAt(picture, i);
    if (color === BACKGROUND || color === BORDER) continue;
    const part = parts.get(color) ?? { width, height, data: new Uint8Array(width * height) };
    parts.set(color, part);
    part.data[i] = 1;
    const own = colorAt(classes, i);
    if (part.label !== undefined || own === BACKGROUND || own === BORDER) continue;
    part.label = colors.get(own);
    if (part.label === undefined) {
      throw new UsageError(`The colour ${[own >> 16, (own >> 8) & 255, own & 255]} is not that of a label.`);
    }
  }
  return [...parts.entries()].map(([color, { label, ...mask }]) => {
    if (label === undefined) throw new UsageError(`An object (colour ${show(color)}) of ${partFile} has no class.`);
    const [x, y, w, h] = maskBounds(mask);
    const box: BoxCoordinates = [x, y, x + w, y + h];
    return { label, box, mask: encodeRle(mask) };
  });
}

function addPart(image: ReadImage, part: Part, source: string, { onProblem }: ReadContext): void {
  const [height, width] = part.mask.size;
  image.size ??= { width, height };
  const overlaps = image.objects.map(({ label, box, mask }) =>
    label === part.label && mask === undefined ? boxIou(box, part.box) : 0,
  );
  const best = overlaps.indexOf(Math.max(...overlaps));
  if (overlaps[best] >= 0.5) image.objects[best].mask = part.mask;
  else addObject(image, part, source, onProblem);
}
