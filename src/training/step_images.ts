import type { TextConfig } from '../config/model.ts';
import type { Dataset, Target, TrainingExample } from '../datasets/example.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import { clampBox } from '../geometry/clip.ts';
import type { ImageSize } from '../geometry/types.ts';
import type { RawImage } from '../image/types.ts';
import { randomStream, shuffle } from '../random.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { AugmentOptions } from './augment/augment.ts';
import { type TokenizedTarget, tokenizeTarget } from './batch.ts';
import type { Draw } from './mixture.ts';

/** An image with its targets, prepared for a training step. */
export interface StepImage {
  /** Key of its feature map in the cache. */
  key: string;
  /** Where the example comes from, for error messages. */
  source: string;
  /** The size, in pixels, that the targets' coordinates refer to. */
  imageSize: ImageSize;
  /** The targets of this step, after sampling and augmentation. */
  targets: Target[];
  /** The same targets as tokens. */
  tokenized: TokenizedTarget[];
  /** Null if the image's feature map is cached. */
  pixels: RawImage | null;
}

/** Options of `ExampleReader`, a subset of `TrainerOptions`. */
export interface ReaderOptions {
  seed: number;
  /** Largest number of targets per image, sampled anew in each epoch. Default: all. */
  targetsPerImage?: number;
  augment?: AugmentOptions;
}

/** Reads examples and prepares them: decodes the image, samples targets, augments both, and tokenizes the targets. */
export class ExampleReader {
  /** Sizes of images decoded so far, so that images with a cached feature map need not be decoded again. */
  private readonly sizes = new Map<string, ImageSize>();

  /** @param name prefix of its images' keys, distinct from that of other readers */
  constructor(
    private readonly name: string,
    private readonly datasets: readonly Dataset[],
    private readonly tokenizer: Tokenizer,
    private readonly text: TextConfig,
    private readonly options: ReaderOptions,
  ) {}

  /** Returns the key of an example, distinct from those of other readers. */
  keyOf({ part, index }: Draw): string {
    return `${this.name}-${part}-${index}`;
  }

  /**
   * Reads one example and prepares it for a step.
   *
   * @param hasMap whether the feature map of a key is cached
   * @throws Florence2Error or UsageError whose message begins with the example's source
   */
  async read(draw: Draw, epoch: number, hasMap: (key: string) => boolean): Promise<StepImage> {
    const key = this.keyOf(draw);
    const example = await this.datasets[draw.part].example(draw.index);
    try {
      return await this.prepare(example, key, epoch, hasMap(key));
    } catch (error) {
      if (!(error instanceof Florence2Error)) throw error;
      const Kind = error instanceof UsageError ? UsageError : Florence2Error;
      throw new Kind(`${example.source}: ${error.message}`, { code: error.code, cause: error });
    }
  }

  private async prepare(example: TrainingExample, key: string, epoch: number, hasMap: boolean): Promise<StepImage> {
    const { seed, targetsPerImage, augment: augmentation } = this.options;
    const { source } = example;
    let { targets } = example;
    let imageSize = this.sizes.get(key);
    let pixels: RawImage | null = null;
    if (targets.length === 0) throw new UsageError('the image has no targets.');
    if (!hasMap || !imageSize || augmentation) {
      const { decodeImage } = await import('../image/decode.ts');
      pixels = await decodeImage(example.image);
      imageSize = { width: pixels.width, height: pixels.height };
      this.sizes.set(key, imageSize);
    }
    if (targetsPerImage !== undefined && targets.length > targetsPerImage) {
      targets = shuffle([...targets], randomStream(seed, 'targets', epoch, key)).slice(0, targetsPerImage);
    }
    if (augmentation) {
      const { augment } = await import('./augment/augment.ts');
      const random = randomStream(seed, 'augment', epoch, key);
      const changed = augment({ image: pixels!, targets, source }, augmentation, random);
      ({ image: pixels, targets } = changed);
      imageSize = { width: pixels.width, height: pixels.height };
    }
    const size: ImageSize = imageSize;
    targets = targets.map(target =>
      target.box ? { ...target, box: clampBox(target.box, [0, 0, size.width, size.height]) } : target,
    );
    const tokenized = targets.map(target => tokenizeTarget(target, size, this.tokenizer, this.text));
    return { key, source, imageSize: size, targets, tokenized, pixels: hasMap ? null : pixels };
  }
}
