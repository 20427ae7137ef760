import type { CaptureOptions } from './activations/run_with_cache.ts';
import type { AdapterChoice } from './adapters/adapters.ts';
import type { GenerationOptions } from './generation/options.ts';
import type { ImageFeatures } from './image/features.ts';
import type { DecodeOptions, ImageInput } from './image/types.ts';
import type { ParseOptions } from './results/parse/parse.ts';
import type { TaskArguments } from './text/prompt.ts';
import type { TileOptions } from './tiling/tiles.ts';

/** A task about an image. */
export interface Request extends TaskArguments {
  /** The image, or its features from `encodeImage`. */
  image: ImageInput | ImageFeatures;
  /** A task token (`<OD>`), which may be followed by its text; any other text is a custom prompt. */
  task: string;
}

/** Options of `encodeImage`. */
export interface EncodeOptions extends DecodeOptions {
  /** The adapter of this call, several, or null for none. Default: those that are active when the call starts. */
  adapter?: AdapterChoice;
}

/** Options of `run`: how the image is encoded and the answer generated and parsed. */
export interface RunOptions
  extends GenerationOptions,
    EncodeOptions,
    Pick<ParseOptions, 'keepUnicode' | 'keepMalformed'> {
  /** Stops the generation between two tokens; its reason is thrown. */
  signal?: AbortSignal;
}

/** Options of `run` with one task: how it is answered, its arguments, and tiles. */
export interface TaskOptions extends RunOptions, TaskArguments {
  /**
   * Reads a large image in overlapping tiles of this side in pixels, and as a whole, and merges the boxes, outlines or
   * lines. For tasks with places but without a region.
   */
  tiles?: number | TileOptions;
}

/** Options of `runWithCache`: those of `run`, and which activations are kept. */
export interface CacheOptions extends RunOptions, TaskArguments, CaptureOptions {}
