import { basename } from 'node:path';
import { UsageError } from '../../errors.ts';
import { isRecord } from '../../json.ts';
import { show } from '../../show.ts';
import { openAnnotations } from '../open.ts';
import { type BenchmarkImage, type BenchmarkSplits, findFile, imagesOf, readItems } from './files.ts';

/**
 * Reads COCO's captions of Karpathy's test split, of 5,000 images: `dataset_coco.json` of Karpathy, or
 * `coco_karpathy_test.json` of BLIP. `captions_val2014.json` of COCO itself has all images of `val2014`, and is the split
 * `val2014`. Images are in `val2014`.
 *
 * @returns as truths the reference captions
 */
export async function readCocoCaptions(folder: string): Promise<BenchmarkSplits<string[]>> {
  const file = findFile(folder, ['dataset_coco.json', 'coco_karpathy_test.json', 'captions_val2014.json']);
  const finder = imagesOf(folder, ['val2014']);
  const images: BenchmarkImage<string[]>[] = [];
  const add = (source: string, name: string, captions: unknown): void => {
    images.push({ image: finder.find(name), source, questions: [{ task: '<CAPTION>', truth: textsOf(captions) }] });
  };
  if (basename(file) === 'captions_val2014.json') {
    const dataset = await openAnnotations(file, { imageRoot: folder });
    for (let i = 0; i < dataset.length; i++) {
      const { image, captions, source } = await dataset.image(i);
      if (captions.length > 0) add(source, image as string, captions);
    }
    return { val2014: images };
  }
  const isKarpathy = basename(file) === 'dataset_coco.json';
  await readItems(file, isKarpathy ? 'images' : undefined, (item, source) => {
    if (!isKarpathy) return add(source, textOf(item, 'image'), [item.caption].flat());
    if (item.split !== 'test') return;
    const { sentences } = item;
    const captions = Array.isArray(sentences)
      ? sentences.map(sentence => isRecord(sentence) && sentence.raw)
      : sentences;
    add(source, `${item.filepath ?? 'val2014'}/${textOf(item, 'filename')}`, captions);
  });
  return { 'Karpathy test': images };
}

/**
 * Reads `TextCaps_0.1_val.json`, which has an entry for each caption. Images are in `train_images`, as the archive of the
 * training and validation images is unpacked.
 *
 * @returns as truths the reference captions
 */
export async function readTextcaps(folder: string): Promise<BenchmarkSplits<string[]>> {
  const file = findFile(folder, ['TextCaps_0.1_val.json']);
  const finder = imagesOf(folder, OPEN_IMAGES);
  const images = new Map<string, { source: string; captions: string[] }>();
  await readItems(file, 'data', (item, source) => {
    const id = textOf(item, 'image_id');
    const image = images.get(id) ?? { source, captions: [] };
    images.set(id, image);
    image.captions.push(textOf(item, 'caption_str'));
  });
  const val = [...images].map(([id, { source, captions }]) => {
    const questions = [{ task: '<CAPTION>', truth: captions }];
    return { image: finder.find(`${id}.jpg`), source, questions };
  });
  return { val };
}

/**
 * Reads `TextVQA_0.5.1_val.json`: questions with the answers of ten people. Images are in `train_images`. The question
 * itself is the prompt: Florence-2 has no task token for questions.
 *
 * @returns as truths the ten answers
 */
export async function readTextVqa(folder: string): Promise<BenchmarkSplits<string[]>> {
  const file = findFile(folder, ['TextVQA_0.5.1_val.json']);
  const finder = imagesOf(folder, OPEN_IMAGES);
  const images = new Map<string, BenchmarkImage<string[]>>();
  await readItems(file, 'data', (item, source) => {
    const id = textOf(item, 'image_id');
    const image = images.get(id) ?? { image: finder.find(`${id}.jpg`), source, questions: [] };
    images.set(id, image);
    image.questions.push({ task: textOf(item, 'question'), truth: textsOf(item.answers) });
  });
  return { val: [...images.values()] };
}

/** Folders of the images of Open Images in TextVQA and TextCaps. */
const OPEN_IMAGES = ['train_images', 'train_val_images/train_images'];

function textOf(item: Record<string, unknown>, field: string): string {
  const value = item[field];
  if (typeof value === 'string' && value !== '') return value;
  throw new UsageError(`${field} is ${show(value)}, expected a text.`);
}

function textsOf(value: unknown): string[] {
  if (Array.isArray(value) && value.length > 0 && value.every(text => typeof text === 'string')) return value;
  throw new UsageError(`${show(value)} are not reference texts.`);
}
