import { dirname, join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { readWholeFile } from '../../files/whole_file.ts';
import { cocoMask } from '../../geometry/coco_mask.ts';
import type { Mask } from '../../geometry/masks.ts';
import { decodeRle, decompressCounts } from '../../geometry/rle.ts';
import type { BoxCoordinates, ImageSize, Polygon } from '../../geometry/types.ts';
import { isRecord } from '../../json.ts';
import { show } from '../../show.ts';
import { type PickleValue, unpickleData } from '../../weights/pickle.ts';
import { readJsonItems } from '../read/json_items.ts';
import { type BenchmarkImage, type BenchmarkSplits, findFile, imagesOf } from './files.ts';

/** The datasets of referring expressions. */
export type ReferDataset = 'refcoco' | 'refcoco+' | 'refcocog';

/** The object that an expression names. */
export interface ReferredObject {
  box: BoxCoordinates;
  /** Returns its pixels. */
  mask: () => Mask;
}

/** The splits that results are published for. */
const SPLITS: Record<ReferDataset, readonly string[]> = {
  refcoco: ['val', 'testA', 'testB'],
  'refcoco+': ['val', 'testA', 'testB'],
  refcocog: ['val', 'test'],
};

/**
 * Reads RefCOCO, RefCOCO+ or RefCOCOg as REFER distributes them: `refs(unc).p` (RefCOCOg: `refs(umd).p`), a pickle of
 * expressions, and `instances.json`, COCO's objects, in the folder or in its subfolder of the dataset's name. Images are
 * in `train2014`. Each sentence of an expression is a question.
 *
 * @param task the task that asks for the object
 * @throws Florence2Error that names the file and the invalid expression
 */
export async function readRefer(
  folder: string,
  dataset: ReferDataset,
  task: string,
): Promise<BenchmarkSplits<ReferredObject>> {
  const name = dataset === 'refcocog' ? 'refs(umd).p' : 'refs(unc).p';
  const file = findFile(folder, [join(dataset, name), name]);
  const refs = unpickleData(await readWholeFile(file), file);
  if (!Array.isArray(refs)) throw new Florence2Error(`${file} holds ${show(refs)}, expected a list of expressions.`);
  const objects = await readObjects(join(dirname(file), 'instances.json'));
  const finder = imagesOf(folder, ['train2014', 'val2014']);
  const splits: Record<string, Map<string, BenchmarkImage<ReferredObject>>> = Object.fromEntries(
    SPLITS[dataset].map(split => [split, new Map()]),
  );
  for (const [i, ref] of refs.entries()) {
    const source = `${file}: [${i}]`;
    const [split, id] = [fieldOf(ref, 'split', source), fieldOf(ref, 'ann_id', source)];
    const images = splits[String(split)];
    if (!images) continue; // train
    const object = objects.get(Number(id));
    if (!object) throw new UsageError(`${source}: ann_id ${show(id)} is not in instances.json.`);
    const sentences = fieldOf(ref, 'sentences', source);
    if (!Array.isArray(sentences)) throw new UsageError(`${source}: sentences is ${show(sentences)}, expected a list.`);
    const path = finder.find(object.image);
    const image = images.get(path) ?? { image: path, source, questions: [] };
    images.set(path, image);
    for (const sentence of sentences) {
      image.questions.push({ task, text: String(fieldOf(sentence, 'sent', source)), truth: object });
    }
  }
  return Object.fromEntries(Object.entries(splits).map(([split, images]) => [split, [...images.values()]]));
}

function fieldOf(value: PickleValue, field: string, source: string): PickleValue {
  const found = value instanceof Map ? value.get(field) : undefined;
  if (found !== undefined) return found;
  throw new UsageError(`${source}: It has no ${field}, expected an expression of REFER.`);
}

/** Reads the objects of `instances.json` with the names of their images, by id. */
async function readObjects(file: string): Promise<Map<number, ReferredObject & { image: string }>> {
  const images = new Map<unknown, ImageSize & { file: string }>();
  const annotations: { id: number; image_id: unknown; bbox: number[]; segmentation: unknown }[] = [];
  await readJsonItems(file, { images: '[', annotations: '[' }, (item, i, field) => {
    if (!isRecord(item)) throw new UsageError(`${file}: ${field}[${i}] is ${show(item)}, expected an object.`);
    if (field === 'images') {
      images.set(item.id, { file: String(item.file_name), width: Number(item.width), height: Number(item.height) });
    } else {
      const { id, image_id, bbox, segmentation } = item;
      if (!Array.isArray(bbox) || bbox.length !== 4 || !bbox.every(Number.isFinite)) {
        throw new UsageError(`${file}: annotations[${i}].bbox is ${show(bbox)}, expected x, y, width and height.`);
      }
      annotations.push({ id: Number(id), image_id, bbox, segmentation });
    }
  });
  return new Map(
    annotations.map(({ id, image_id, bbox: [x, y, width, height], segmentation }) => {
      const image = images.get(image_id);
      if (!image) throw new UsageError(`${file}: image_id ${show(image_id)} is not among the images.`);
      const box: BoxCoordinates = [x, y, x + width, y + height];
      return [id, { box, image: image.file, mask: () => maskOf(segmentation, image) }];
    }),
  );
}

function maskOf(segmentation: unknown, image: ImageSize): Mask {
  if (Array.isArray(segmentation)) return cocoMask(segmentation as Polygon[], image);
  const { size, counts } = segmentation as { size: [number, number]; counts: string | number[] };
  return decodeRle({ size, counts: typeof counts === 'string' ? decompressCounts(counts) : counts });
}
