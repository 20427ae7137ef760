import { Florence2Error, UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { isRecord } from '../json.ts';
import { show } from '../show.ts';
import type { DatasetFormat, LabelledObject, TextLine } from './annotation.ts';
import type { SourcedTarget } from './example.ts';
import type { ImageFinder } from './find_images.ts';
import { checkLabelName } from './targets.ts';

/** Options of all readers. */
export interface ReadOptions {
  /**
   * The tasks to learn, by token or name. Default: all tasks of a JSONL file; else `<OD>`, `<CAPTION>` and
   * `<OCR_WITH_REGION>` for the objects, captions and lines of text of the dataset (`objectTargets` lists the other tasks
   * that objects can teach).
   */
  tasks?: readonly string[];
  /**
   * Receives each problem; the reader skips the affected entry. Default: throws a Florence2Error for the first error.
   */
  onProblem?: ProblemHandler;
}

/** A part of a dataset. In folders and files the validation split may also be called `val` or `validation`. */
export type Split = 'train' | 'valid' | 'test';

export const SPLITS: readonly Split[] = ['train', 'valid', 'test'];

/** A problem in a dataset. */
export interface DatasetProblem {
  /** `error`: training refuses it. `warning`: probably a mistake, but training learns it or the reader skips it. */
  severity: 'error' | 'warning';
  /** File and line, or the place in the file. */
  source: string;
  /** What is wrong, as a sentence. */
  message: string;
}

/** Receives a problem. */
export type ProblemHandler = (problem: DatasetProblem) => void;

/** The readers' default: throws errors and ignores warnings. */
export function throwErrors({ severity, source, message }: DatasetProblem): void {
  if (severity === 'error') throw new Florence2Error(`${source}: ${message}`);
}

/** Returns the value of `read`. If that throws a Florence2Error, reports it as a problem and returns undefined. */
export function reporting<T>(source: string, onProblem: ProblemHandler, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Florence2Error)) throw error;
    onProblem({ severity: 'error', source, message: error.message });
    return undefined;
  }
}

/** What a reader of a format is given. */
export interface ReadContext {
  onProblem: ProblemHandler;
  images: ImageFinder;
  split?: Split;
  format?: DatasetFormat;
  /** Whether polygons and masks are read and checked. */
  outlines: boolean;
  /** A file of COCO results that replaces the annotations. */
  results?: string;
  /** Whether COCO's `iscrowd: 1` marks crowds; default: only if other objects of the file have outlines. */
  crowds?: boolean;
}

/** An image as a format describes it. Coordinates are in the frame of the tool, see `storedImage`. */
export interface ReadImage {
  /** A path, a URL, or a function that reads the image's file. */
  image: string | (() => Promise<Uint8Array>);
  file: string;
  /** The size that the annotations give. */
  size?: ImageSize;
  objects: LabelledObject[];
  captions: string[];
  texts: TextLine[];
  targets: SourcedTarget[];
  source: string;
}

/** What annotations are about. */
export type Subject = 'objects' | 'captions' | 'texts' | 'rows';

/** The images of a dataset as a format describes them. */
export interface ReadSet {
  name: string;
  format: DatasetFormat;
  images: ReadImage[];
  labels?: string[];
  subjects: Subject[];
  /**
   * Whether coordinates are those of the stored image or of the upright one, where the size in the annotations does not
   * tell.
   */
  frame: 'stored' | 'upright';
  /** Whether coordinates are fractions of width and height. */
  fractions?: boolean;
}

/**
 * Returns an image without annotations. V8 keeps a hidden class of 300 bytes for each object to which a literal adds fields
 * after a spread, so images, objects and targets are made otherwise.
 */
export function newImage(image: ReadImage['image'], file: string, source: string, size?: ImageSize): ReadImage {
  const read: ReadImage = { image, file, source, objects: [], captions: [], texts: [], targets: [] };
  if (size) read.size = size;
  return read;
}

/** Adds an object to its image. Warns of duplicates. @throws UsageError for an invalid label */
export function addObject(image: ReadImage, object: LabelledObject, source: string, onProblem: ProblemHandler): void {
  checkLabelName(object.label);
  if (image.objects.some(other => isSame(other, object))) {
    const message = `The object is a duplicate: another one has the same label and the same box.`;
    onProblem({ severity: 'warning', source, message });
  }
  image.objects.push(object);
}

const isSame = (a: LabelledObject, b: LabelledObject): boolean =>
  a.label === b.label &&
  a.box.every((value, i) => value === b.box[i]) &&
  JSON.stringify([a.polygons, a.mask, a.quad]) === JSON.stringify([b.polygons, b.mask, b.quad]);

/** Returns an entry of a file as an object. @throws UsageError if it is something else */
export function record(value: unknown): Record<string, unknown> {
  if (isRecord(value)) return value;
  throw new UsageError(`It is ${show(value)}, expected an object.`);
}

/** Returns what the images have annotations about; `otherwise` if they have none. */
export function subjectsOf(images: readonly ReadImage[], otherwise: Subject): Subject[] {
  const fields = { objects: 'objects', captions: 'captions', texts: 'texts', rows: 'targets' } as const;
  const found = (Object.keys(fields) as Subject[]).filter(name => images.some(image => image[fields[name]].length > 0));
  return found.length > 0 ? found : [otherwise];
}
