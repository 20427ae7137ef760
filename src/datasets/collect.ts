import { UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { type ImageInput, isRawImage } from '../image/types.ts';
import { callback, checkOptions, type Kind, objectWith, whole } from '../options.ts';
import type { Dataset, SourcedTarget, Target, TrainingExample } from './example.ts';
import { type ReadOptions, reporting, throwErrors } from './reading.ts';
import { checkTarget } from './targets.ts';

/** The kind of a dataset as an argument. */
export const DATASET: Kind = objectWith(
  { length: whole, example: callback },
  'a dataset, as openDataset and collectDataset return',
);

/** An image with one target. */
export interface ImageTarget extends Target {
  /** A path, a URL, the bytes of an image file, or pixels. */
  image: ImageInput;
}

/**
 * Returns a dataset of the rows of an array, generator or async generator. Rows of the same image (the same path, URL
 * or object) become one example. All rows are read and kept in memory. Images are kept as they are given, so paths need
 * little memory and pixels much.
 *
 * @param name of the dataset in error messages, where `name[3]` is the fourth row
 * @throws Florence2Error that names the row and the invalid field, unless `onProblem` is given
 */
export async function collectDataset(
  name: string,
  rows: Iterable<ImageTarget> | AsyncIterable<ImageTarget>,
  options: Pick<ReadOptions, 'onProblem'> = {},
): Promise<Dataset> {
  checkOptions('collectDataset', options, { onProblem: callback });
  const { onProblem = throwErrors } = options;
  const examples = new ExampleList();
  let count = 0;
  for await (const { image, task, text, box, answer } of rows) {
    const source = `${name}[${count++}]`;
    reporting(source, onProblem, () => {
      const target = { task, ...(text !== undefined && { text }), ...(box !== undefined && { box }), answer };
      checkTarget(target);
      examples.add(image, [{ ...target, source }], source);
    });
  }
  return examples.dataset(name);
}

/** Groups targets by image, in the order in which the images first occur. */
export class ExampleList {
  private readonly byImage = new Map<unknown, TrainingExample>();

  /** Paths and URLs are compared by their spelling, other images by identity. */
  add(image: ImageInput, targets: readonly SourcedTarget[], source: string, imageSize?: ImageSize): void {
    if (targets.length === 0) return;
    const key = image instanceof URL ? image.href : image;
    const found = this.byImage.get(key);
    if (found) for (const target of targets) found.targets.push(target);
    else this.byImage.set(key, { image, ...sizeOf(image, imageSize), targets: [...targets], source });
  }

  dataset(name: string): Dataset {
    const examples = [...this.byImage.values()];
    return {
      name,
      length: examples.length,
      example: index => examples[index] ?? noExample(name, index, examples.length),
    };
  }
}

/** Returns the examples of a dataset at some indices, in this order; an index may be repeated. */
export function subset(dataset: Dataset, indices: readonly number[], name = dataset.name): Dataset {
  const { length } = indices;
  return { name, length, example: i => dataset.example(indices[i] ?? noExample(name, i, length)) };
}

function sizeOf(image: ImageInput, known?: ImageSize): { imageSize?: ImageSize } {
  if (isRawImage(image)) return { imageSize: { width: image.width, height: image.height } };
  return known ? { imageSize: known } : {};
}

/** @throws UsageError that an index is out of range */
export function noExample(name: string, index: number, length: number): never {
  throw new UsageError(`${name} has no example ${index}: it has ${length}.`);
}
