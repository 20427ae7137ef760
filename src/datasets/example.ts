import type { BoxCoordinates, ImageSize } from '../geometry/types.ts';
import type { ImageInput } from '../image/types.ts';
import type { TypedAnswer } from '../results/format.ts';
import type { TaskArguments } from '../text/prompt.ts';

/** One task on an image with its true answer. */
export interface Target extends TaskArguments {
  text?: string;
  /** A task token (`<OD>`), or a custom prompt. */
  task: string;
  /** Objects in pixels of the original image, which are written as location tokens; or the exact text to learn. */
  answer: TypedAnswer | string;
}

/** A target with the place that it was read from. */
export interface SourcedTarget extends Target {
  /** File and line, for error messages. Default: the source of its example. */
  source?: string;
}

/** An image with its targets. Training encodes the image once for all of them. */
export interface TrainingExample {
  /** A path, a URL, the bytes of an image file, or pixels. */
  image: ImageInput;
  /** Size of the original image in pixels, if it is known without decoding the image. */
  imageSize?: ImageSize;
  targets: SourcedTarget[];
  /**
   * The objects that `<OD>` and `<REGION_PROPOSAL>` ask for, with crowds, areas and scores, if any object has these:
   * metrics of COCO use them. The targets have the boxes of single objects.
   */
  objects?: readonly { label: string; box: BoxCoordinates; crowd?: boolean; area?: number; score?: number }[];
  /** Path of the image relative to the folder of the images, with `/`: its name in the dataset. */
  file?: string;
  /** File and line, for error messages. */
  source: string;
}

/**
 * Examples with random access, which shuffling, resuming and the cache of vision features need. `example(i)` returns an
 * equal example each time.
 */
export interface Dataset {
  /** For error messages. */
  readonly name: string;
  /** Number of examples. */
  readonly length: number;
  /** @param index from 0 */
  example(index: number): TrainingExample | Promise<TrainingExample>;
}
