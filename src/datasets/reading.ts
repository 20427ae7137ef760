import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { Florence2Error, UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { type ImageInput, isRawImage } from '../image/types.ts';
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

/** The images that an annotation file names, relative to a folder. Absolute paths, `..` and URLs are taken as well. */
export class ImageFolder {
  private readonly seen = new Map<string, boolean>();

  constructor(readonly folder: string) {}

  /** Where the image is. Throws a Florence2Error that says where it was looked for when it is not there. */
  find(name: string): string {
    if (/^(https?|data|file):/i.test(name)) return name;
    const path = isAbsolute(name) ? name : join(this.folder, name);
    if (!this.seen.has(path)) this.seen.set(path, existsSync(path));
    if (this.seen.get(path)) return path;
    throw new Florence2Error(`The image ${name} does not exist: looked for ${path}.`);
  }
}

/** Something that is wrong with a dataset. */
export interface DatasetProblem {
  /** `error`: training refuses it. `warning`: it is learnt or left out, and most likely a mistake. */
  severity: 'error' | 'warning';
  /** The file and the line, or the place in the file. */
  source: string;
  message: string;
}

/** What becomes of problems. The readers leave out what is wrong and go on where it returns. */
export type ProblemHandler = (problem: DatasetProblem) => void;

/** The readers' default: errors are thrown, warnings passed over. */
export function refuseErrors({ severity, source, message }: DatasetProblem): void {
  if (severity === 'error') throw new Florence2Error(`${source}: ${message}`);
}

/** The value of `body`. An error for people becomes a problem of this source, and the value undefined. */
export function reporting<T>(source: string, onProblem: ProblemHandler, body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof Florence2Error)) throw error;
    onProblem({ severity: 'error', source, message: error.message });
    return undefined;
  }
}

/** The parts of a dataset. The validation split may also be called `val` or `validation` in folders and files. */
export type Split = 'train' | 'valid' | 'test';

export const SPLITS: readonly Split[] = ['train', 'valid', 'test'];

/** The folders that may hold a split. */
export const splitFolders = (split: Split): readonly string[] =>
  split === 'valid' ? ['valid', 'val', 'validation'] : [split];
