import type { Dataset, SourcedTarget, Target, TrainingExample } from '../datasets/example.ts';
import { clipRegion, sizeProblem } from '../datasets/targets.ts';
import { type LengthLimits, type TokenizedTarget, tokenizeTarget } from '../datasets/tokenize.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import type { RawImage } from '../image/types.ts';
import { randomStream, shuffle } from '../random.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { AugmentOptions } from './augment/augment.ts';
import type { Draw } from './mixture.ts';

/** An image with its targets, prepared for a training step. */
export interface StepImage {
  /** Key of its feature map in the cache: examples of one image file share it. */
  key: string;
  /** Where the example comes from, for error messages. */
  source: string;
  /** The size, in pixels, that the targets' coordinates refer to. */
  imageSize: ImageSize;
  /** The targets of this step, after sampling and augmentation. */
  targets: SourcedTarget[];
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
    private readonly limits: LengthLimits,
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
    const example = await this.datasets[draw.part].example(draw.index);
    const names: Names = { seed: this.keyOf(draw), map: mapKey(example.image) ?? this.keyOf(draw) };
    const prepared = await this.prepare(example, names, epoch, hasMap(names.map)).catch(error => {
      throw withSource(error, example.source);
    });
    const { targets, imageSize } = prepared;
    const tokenized = targets.map(target => this.tokenize(target, imageSize, target.source ?? example.source));
    return { ...prepared, tokenized };
  }

  private async prepare(
    example: TrainingExample,
    { seed: name, map: key }: Names,
    epoch: number,
    hasMap: boolean,
  ): Promise<Omit<StepImage, 'tokenized'>> {
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
      const problem = sizeProblem(imageSize, example.imageSize);
      if (problem) throw new Florence2Error(problem);
      this.sizes.set(key, imageSize);
    }
    if (targetsPerImage !== undefined && targets.length > targetsPerImage) {
      targets = shuffle([...targets], randomStream(seed, 'targets', epoch, name)).slice(0, targetsPerImage);
    }
    if (augmentation) {
      const { augment } = await import('./augment/augment.ts');
      const random = randomStream(seed, 'augment', epoch, name);
      const changed = augment({ image: pixels!, targets, source }, augmentation, random);
      ({ image: pixels, targets } = changed);
      imageSize = { width: pixels.width, height: pixels.height };
    }
    const size: ImageSize = imageSize;
    targets = targets.map(target => clipRegion(target, size));
    return { key, source, imageSize: size, targets, pixels: hasMap ? null : pixels };
  }

  private tokenize(target: Target, size: ImageSize, source: string): TokenizedTarget {
    try {
      return tokenizeTarget(target, size, this.tokenizer, this.limits);
    } catch (error) {
      throw withSource(error, source);
    }
  }
}

/** Names of an example: for its random numbers, and for its image's feature map. */
interface Names {
  seed: string;
  map: string;
}

/** Returns the path or URL of an image, or undefined for other inputs: bytes may be read anew for each example. */
const mapKey = (image: TrainingExample['image']): string | undefined =>
  typeof image === 'string' || image instanceof URL ? String(image) : undefined;

/** Returns an error about an example with its source. */
function withSource(error: unknown, source: string): unknown {
  if (!(error instanceof Florence2Error)) return error;
  const Kind = error instanceof UsageError ? UsageError : Florence2Error;
  return new Kind(`${source}: ${error.message}`, { code: error.code, cause: error });
}
