import { type ExifOrientation, orderedBox, storedPoints, turnedSize, uprightPoints } from '../geometry/orientation.ts';
import { decodeRle, encodeRle, type RunLengths } from '../geometry/rle.ts';
import type { BoxCoordinates, ImageSize, QuadCoordinates } from '../geometry/types.ts';
import { readImageHeader } from '../image/decode.ts';
import type { AnnotatedImage, LabelledObject, TextLine } from './annotation.ts';
import { isUrl } from './find_images.ts';
import type { ReadSet } from './reading.ts';

/**
 * Width, height and orientation of the images of a set whose files were read; 0 for others. An object for each image would
 * take 200 MB for 100,000 images.
 */
const headers = new WeakMap<ReadSet, Uint32Array>();

type Header = ImageSize & { exif: ExifOrientation };

/**
 * Returns an image with its annotations in pixels of the stored image. Most tools show an image as its EXIF orientation
 * says and store coordinates of that upright image. The size in the annotations tells: if it is that of the upright
 * image, coordinates are turned. Otherwise, and if the size is the same, the set's `frame` holds.
 *
 * If the size is neither, or the file cannot be read, the annotations are returned as they are: checks report it.
 *
 * @param index of the image in the set
 * @param readHeader whether the image's size and orientation are read
 * @throws Florence2Error if coordinates are fractions and the image cannot be read
 */
export async function storedImage(set: ReadSet, index: number, readHeader = true): Promise<AnnotatedImage> {
  const read = set.images[index];
  const { file, objects, captions, texts, targets, source } = read;
  const image = typeof read.image === 'string' ? read.image : await read.image();
  const result: AnnotatedImage = { image, file, objects, captions, texts, targets, source };
  const header = readHeader ? await headerOf(set, index, image) : undefined;
  if (!header) {
    if (read.size) result.size = read.size;
    return result;
  }
  const stored = { width: header.width, height: header.height };
  const upright = turnedSize(stored, header.exif);
  const scale = set.fractions ? upright : undefined;
  const isUpright = header.exif !== 1 && frameOf(read.size, stored, upright, set.frame) === 'upright';
  const points = (values: readonly number[]): number[] => {
    const pixels = scale ? values.map((value, i) => value * (i % 2 ? scale.height : scale.width)) : [...values];
    return isUpright ? storedPoints(pixels, upright, header.exif) : pixels;
  };
  const mask = (runs: RunLengths): RunLengths => (isUpright ? storedMask(runs, upright, header.exif) : runs);
  if (header.exif !== 1) result.orientation = header.exif;
  result.size = read.size && !isSize(read.size, stored) && !isSize(read.size, upright) ? read.size : stored;
  return scale || isUpright ? Object.assign(result, moved(objects, texts, points, mask)) : result;
}

/** Returns an image, as `storedImage` returns it, with its size and annotations in pixels of the upright image. */
export function uprightAnnotations(image: AnnotatedImage): AnnotatedImage {
  const { size, orientation, objects, texts } = image;
  if (!size || orientation === undefined) return image;
  const upright = turnedSize(size, orientation);
  const points = (values: readonly number[]): number[] => uprightPoints(values, upright, orientation);
  const inverse: ExifOrientation = orientation === 6 ? 8 : orientation === 8 ? 6 : orientation;
  const mask = (runs: RunLengths): RunLengths => storedMask(runs, size, inverse);
  return { ...image, size: upright, ...moved(objects, texts, points, mask) };
}

/** Moves objects and lines of text. */
function moved(
  objects: LabelledObject[],
  texts: TextLine[],
  points: (values: readonly number[]) => number[],
  mask: (runs: RunLengths) => RunLengths,
): Pick<AnnotatedImage, 'objects' | 'texts'> {
  const place = (object: LabelledObject): LabelledObject => ({
    ...object,
    box: orderedBox(points(object.box) as BoxCoordinates),
    ...(object.polygons && { polygons: object.polygons.map(points) }),
    ...(object.quad && { quad: points(object.quad) as QuadCoordinates }),
    ...(object.mask && { mask: mask(object.mask) }),
  });
  const turned = texts.map(line => ({ ...line, quad: points(line.quad) as QuadCoordinates }));
  return { objects: objects.map(place), texts: turned };
}

/** Returns the header of an image's file; undefined if it cannot be read. */
async function headerOf(set: ReadSet, index: number, image: string | Uint8Array): Promise<Header | undefined> {
  if (typeof image === 'string' && isUrl(image)) return undefined;
  const known = headers.get(set) ?? new Uint32Array(set.images.length * 3);
  headers.set(set, known);
  const [width, height, exif] = known.subarray(index * 3);
  if (width > 0) return { width, height, exif: exif as ExifOrientation };
  try {
    const header = await readImageHeader(image);
    known.set([header.width, header.height, header.exif], index * 3);
    return header;
  } catch (error) {
    if (set.fractions) throw error;
    return undefined;
  }
}

const isSize = (a: ImageSize, b: ImageSize): boolean => a.width === b.width && a.height === b.height;

function frameOf(
  annotated: ImageSize | undefined,
  stored: ImageSize,
  upright: ImageSize,
  frame: ReadSet['frame'],
): ReadSet['frame'] {
  if (!annotated || isSize(stored, upright)) return frame;
  return isSize(annotated, upright) ? 'upright' : 'stored';
}

/** Returns a mask of the upright image as a mask of the stored one. */
function storedMask(runs: RunLengths, upright: ImageSize, exif: ExifOrientation): RunLengths {
  const mask = decodeRle(runs);
  if (!isSize(mask, upright)) return runs;
  const size = turnedSize(upright, exif);
  const data = new Uint8Array(mask.data.length);
  for (let y = 0, i = 0; y < mask.height; y++) {
    for (let x = 0; x < mask.width; x++, i++) {
      if (!mask.data[i]) continue;
      const [column, row] = storedPoints([x + 0.5, y + 0.5], upright, exif);
      data[Math.floor(row) * size.width + Math.floor(column)] = 1;
    }
  }
  return encodeRle({ ...size, data });
}
