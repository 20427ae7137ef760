import type { TextConfig } from '../config.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import type { RawImage } from '../image/types.ts';
import type { ImageSize } from '../text/locations.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { type TokenizedTarget, tokenizeTarget } from './batch.ts';
import type { AugmentOptions } from './data/augment.ts';
import type { Draw } from './data/mixture.ts';
import type { Dataset, TrainingExample } from './example.ts';
import { randomStream, shuffle } from './random.ts';

/** An image of a step, ready to be learnt from. */
export interface StepImage {
  /** Names its features in the cache. */
  key: string;
  source: string;
  /** Size in pixels that the targets' coordinates count in. */
  imageSize: ImageSize;
  targets: TokenizedTarget[];
  /** Null where the features are known already. */
  pixels: RawImage | null;
}

/** Reads examples and prepares them: decodes, augments, picks targets, writes them as tokens. */
export class ExampleReader {
  constructor(
    private readonly datasets: readonly Dataset[],
    private readonly tokenizer: Tokenizer,
    private readonly text: TextConfig,
    private readonly options: { seed: number; targetsPerImage?: number; augment?: AugmentOptions },
  ) {}

  /**
   * @param hasFeatures whether the image itself is not needed
   * @throws Florence2Error or UsageError that begins with the example's source
   */
  async read({ part, index }: Draw, epoch: number, hasFeatures: (key: string) => boolean): Promise<StepImage> {
    return this.prepareExample(await this.datasets[part].example(index), `${part}-${index}`, epoch, hasFeatures);
  }

  /** The same for an example that is at hand. */
  async prepareExample(
    example: TrainingExample,
    key: string,
    epoch: number,
    hasFeatures: (key: string) => boolean,
  ): Promise<StepImage> {
    try {
      return { key, source: example.source, ...(await this.prepare(example, key, epoch, hasFeatures(key))) };
    } catch (error) {
      if (error instanceof UsageError) throw new UsageError(`${example.source}: ${error.message}`, { cause: error });
      if (error instanceof Florence2Error)
        throw new Florence2Error(`${example.source}: ${error.message}`, { cause: error });
      throw error;
    }
  }

  private async prepare(example: TrainingExample, key: string, epoch: number, hasFeatures: boolean) {
    const { seed, targetsPerImage, augment: augmentation } = this.options;
    let { targets, imageSize } = example;
    let pixels: RawImage | null = null;
    if (!hasFeatures || !imageSize || augmentation) {
      const { decodeImage } = await import('../image/decode.ts');
      pixels = await decodeImage(example.image);
      imageSize = { width: pixels.width, height: pixels.height };
    }
    if (targetsPerImage !== undefined && targets.length > targetsPerImage) {
      targets = shuffle([...targets], randomStream(seed, 'targets', epoch, key)).slice(0, targetsPerImage);
    }
    if (augmentation) {
      const { augment } = await import('./data/augment.ts');
      const random = randomStream(seed, 'augment', epoch, key);
      const changed = augment({ image: pixels!, targets, source: example.source }, augmentation, random);
      pixels = changed.image as RawImage;
      imageSize = { width: pixels.width, height: pixels.height };
      targets = changed.targets;
    }
    const size: ImageSize = imageSize;
    const tokenized = targets.map(target => tokenizeTarget(target, size, this.tokenizer, this.text));
    return { imageSize: size, targets: tokenized, pixels: hasFeatures ? null : pixels };
  }
}
