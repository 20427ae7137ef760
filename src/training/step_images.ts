import type { TextConfig } from '../config/model.ts';
import type { Dataset, Target, TrainingExample } from '../datasets/example.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import type { RawImage } from '../image/types.ts';
import { randomStream, shuffle } from '../random.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { AugmentOptions } from './augment/augment.ts';
import { type TokenizedTarget, tokenizeTarget } from './batch.ts';
import type { Draw } from './mixture.ts';

/** An image of a step, ready to be learnt from. */
export interface StepImage {
  /** Names its features in the cache. */
  key: string;
  source: string;
  /** Size in pixels that the targets' coordinates count in. */
  imageSize: ImageSize;
  /** What is learnt this time, as the dataset has it and as tokens. */
  targets: Target[];
  tokenized: TokenizedTarget[];
  /** Null where the features are known already. */
  pixels: RawImage | null;
}

export interface ReaderOptions {
  seed: number;
  /** Most targets of an image, drawn anew in each epoch. Default: all. */
  targetsPerImage?: number;
  augment?: AugmentOptions;
}

/** Reads examples and prepares them: decodes, augments, picks targets, writes them as tokens. */
export class ExampleReader {
  /** Of images that were decoded once: later epochs, whose features are cached, need not decode them. */
  private readonly sizes = new Map<string, ImageSize>();

  /** @param name tells the keys of its images from those of other readers */
  constructor(
    private readonly name: string,
    private readonly datasets: readonly Dataset[],
    private readonly tokenizer: Tokenizer,
    private readonly text: TextConfig,
    private readonly options: ReaderOptions,
  ) {}

  /**
   * @param hasMap whether the image itself is not needed
   * @throws Florence2Error or UsageError that begins with the example's source
   */
  async read({ part, index }: Draw, epoch: number, hasMap: (key: string) => boolean): Promise<StepImage> {
    const key = `${this.name}-${part}-${index}`;
    const example = await this.datasets[part].example(index);
    try {
      return await this.prepare(example, key, epoch, hasMap(key));
    } catch (error) {
      if (!(error instanceof Florence2Error)) throw error;
      const Kind = error instanceof UsageError ? UsageError : Florence2Error;
      throw new Kind(`${example.source}: ${error.message}`, { cause: error });
    }
  }

  private async prepare(example: TrainingExample, key: string, epoch: number, hasMap: boolean): Promise<StepImage> {
    const { seed, targetsPerImage, augment: augmentation } = this.options;
    const { source } = example;
    let { targets } = example;
    let imageSize = this.sizes.get(key);
    let pixels: RawImage | null = null;
    if (targets.length === 0) throw new UsageError('there is nothing to learn about this image: it has no targets.');
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
    const tokenized = targets.map(target => tokenizeTarget(target, size, this.tokenizer, this.text));
    return { key, source, imageSize: size, targets, tokenized, pixels: hasMap ? null : pixels };
  }
}
