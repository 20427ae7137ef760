import { UsageError } from '../errors.ts';
import { type ImageInput, isRawImage } from '../image/types.ts';
import type { ImageSize } from '../text/locations.ts';
import type { Dataset, Target, TrainingExample } from './example.ts';

/** A target that knows where it was read, for messages. */
export interface SourcedTarget extends Target {
  /** A file and line. Default: the source of its example. */
  source?: string;
}

/** Gathers targets by image, in the order in which the images first come. */
export class ExampleList {
  private readonly byImage = new Map<unknown, TrainingExample>();

  /** Paths and URLs are the same image where they are spelt the same, other images where they are the same object. */
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

function sizeOf(image: ImageInput, known?: ImageSize): { imageSize?: ImageSize } {
  if (isRawImage(image)) return { imageSize: { width: image.width, height: image.height } };
  return known ? { imageSize: known } : {};
}

export function noExample(name: string, index: number, length: number): never {
  throw new UsageError(`${name} has no example ${index}: it has ${length}.`);
}
