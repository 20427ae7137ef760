import type { ImageSize } from '../geometry/types.ts';
import type { ImageInput } from '../image/types.ts';
import type { TypedAnswer } from '../results/format.ts';
import type { TaskArguments } from '../text/prompt.ts';

/** One thing to learn about an image: what is asked, and what should be answered. */
export interface Target extends TaskArguments {
  /** A task token (`<OD>`), or a prompt of your own. */
  task: string;
  /** Objects in pixels of the original image, which become location tokens; or the very text to be learnt. */
  answer: TypedAnswer | string;
}

/** An image and what is to be learnt about it. The image is encoded once for all its targets. */
export interface TrainingExample {
  image: ImageInput;
  /** Size in pixels of the image before anything is done to it, where it is known without decoding. */
  imageSize?: ImageSize;
  targets: Target[];
  /** What errors call it: a file and line. */
  source: string;
}

/**
 * Examples that can be read by number, in any order and again, which is what shuffling, resuming and caching of
 * features need. `example(i)` gives an equal example each time.
 */
export interface Dataset {
  readonly name: string;
  readonly length: number;
  example(index: number): TrainingExample | Promise<TrainingExample>;
}
