import type { GenerationConfig } from '../config/generation.ts';
import type { PreprocessorConfig } from '../config/preprocessor.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import type { Precision } from '../model/executor.ts';
import { fastestExecutor } from '../model/fastest_executor.ts';
import { Florence2Model } from '../model/florence2_model.ts';
import { abortSignal, callback, checkKind, checkOptions, count, type OptionTable, oneOf, text } from '../options.ts';
import { openFolder } from '../platform/node.ts';
import { type Calibration, readCalibration } from '../results/calibration.ts';
import { BACKEND_NAMES, type BackendChoice, type BackendName, useBackend } from '../runtime/backend.ts';
import { show } from '../show.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { imageTokenCount, mapSize } from '../vision/davit.ts';
import { canonicalCheckpoint } from '../weights/canonical.ts';
import { openCheckpoint } from '../weights/checkpoint.ts';
import { elementCount } from '../weights/tensor_file.ts';
import { findCheckpoint } from './find.ts';
import { loadConfig } from './load_config.ts';
import { loadParameters } from './load_parameters.ts';
import { loadTokenizer } from './tokenizer_files.ts';

/** Progress of a download or of loading weights, in bytes. */
export interface Progress {
  stage: 'download' | 'load';
  /** The file that is being read or downloaded. */
  file?: string;
  loaded: number;
  total: number;
}

/** Options of `Florence2.load`. */
export interface LoadOptions {
  /**
   * tfjs backend. Default `auto`: the first that works of tensorflow, webgpu, wasm and cpu. It becomes the active
   * backend of the process, for your own operations. The model runs on it also when another backend is active.
   */
  backend?: BackendName | 'auto';
  /** Branch, tag or commit of a hub repository. Default `main`. */
  revision?: string;
  /** Folder of the checkpoint in the repository or folder, such as `icon_caption`. Default: its top. */
  subfolder?: string;
  /**
   * Checkpoint, as a folder or hub id, whose tokenizer and settings of images are used instead: for checkpoints without
   * them, such as `microsoft/OmniParser-v2.0` in `icon_caption`. Default: the checkpoint's own.
   */
  processor?: string;
  /** Side in pixels of the square to which every image is resized. Default: preprocessor_config.json's, else 768. */
  imageSize?: number;
  /**
   * `bf16` halves the time of matrix products in the vision tower and the encoder on processors with bf16 instructions,
   * at lower precision (docs/speed.md). Needs the tensorflow backend on a CPU. Default `fp32`.
   */
  precision?: Precision;
  /** Called while files are downloaded and weights are loaded. */
  onProgress?: (progress: Progress) => void;
  /** Ends the download or the loading. `load` throws its reason. */
  signal?: AbortSignal;
}

/** The kinds of those options. */
export const LOAD_OPTIONS: OptionTable<LoadOptions> = {
  backend: oneOf('auto', ...BACKEND_NAMES),
  revision: text,
  subfolder: text,
  processor: text,
  imageSize: { ...count, expected: 'a whole number of pixels' },
  precision: oneOf('fp32', 'bf16'),
  onProgress: callback,
  signal: abortSignal,
};

/** The parts of a loaded checkpoint. */
export interface Florence2Parts {
  /** Folder of the checkpoint's files; in browsers its base URL. */
  folder: string;
  model: Florence2Model;
  tokenizer: Tokenizer;
  /** generation_config.json */
  generation: GenerationConfig;
  /** preprocessor_config.json, with `imageSize` applied. */
  preprocessor: PreprocessorConfig;
  /** calibration.json; null if there is none. */
  calibration: Calibration | null;
  backend: BackendChoice;
}

/**
 * Loads the parts of a `Florence2`.
 *
 * @param name `demo`, a folder or a hub id (see `findCheckpoint`)
 * @throws Florence2Error if the checkpoint is missing or damaged or the backend cannot run; UsageError for wrong options;
 *   the reason of an aborted signal
 */
export async function loadParts(name: string, options: LoadOptions): Promise<Florence2Parts> {
  checkKind('The checkpoint', name, text);
  checkOptions('Florence2.load', options, LOAD_OPTIONS);
  const { revision, subfolder, onProgress, signal } = options;
  signal?.throwIfAborted();
  const folder = await findCheckpoint(name, { revision, subfolder, onProgress, signal });
  const files = openFolder(folder);
  const { processor } = options;
  const base =
    processor === undefined
      ? files
      : openFolder(await findCheckpoint(processor, { files: 'processor', onProgress, signal }));
  const { config, generation, preprocessor } = await loadConfig(files, base);
  const side = options.imageSize;
  const resized = side === undefined ? preprocessor : { ...preprocessor, width: side, height: side };
  const model = new Florence2Model(config);
  checkImageSize(model, resized);
  const tokenizer = await loadTokenizer(base);
  checkVocabulary(tokenizer, model, base.path);
  const calibration = await readCalibration(files);
  const file = await openCheckpoint(files);
  try {
    const checkpoint = await canonicalCheckpoint(file);
    const backend = await useBackend(options.backend ?? 'auto');
    checkMemory(model, backend.name);
    model.backend = backend.name;
    model.executor = await fastestExecutor(model, options.precision);
    await loadParameters(model, checkpoint, (loaded, total) => {
      onProgress?.({ stage: 'load', file: file.path, loaded, total });
      signal?.throwIfAborted();
    });
    model.compute(() => model.lmHead.prepare());
    return { folder, model, tokenizer, generation, preprocessor: resized, calibration, backend };
  } catch (error) {
    model.dispose();
    throw error;
  } finally {
    await file.close();
  }
}

/** @throws Florence2Error if the tokenizer has ids beyond the embedding table */
function checkVocabulary(tokenizer: Tokenizer, { config }: Florence2Model, folder: string): void {
  const { vocabSize } = config.text;
  const last = tokenizer.size - 1;
  if (last < vocabSize) return;
  throw new Florence2Error(
    `The tokenizer of ${folder} has the token ${show(tokenizer.idToToken(last))} with id ${last}, but the embedding table of config.json has ${vocabSize} rows.`,
  );
}

/** Windows of at most this side may be larger than the maps, which are padded to whole windows. */
const MOST_PADDED_WINDOW = 64;

function checkImageSize({ config }: Florence2Model, { width, height }: { width: number; height: number }): void {
  const [rows, columns] = mapSize(config.vision, height, width);
  const { imagePositionEmbeddings } = config.vision;
  const { maxPositionEmbeddings } = config.text;
  const size = `An image size of ${width}×${height}`;
  if (rows < 1 || columns < 1) throw new UsageError(`${size} is too small for this model's strides.`);
  if (Math.max(rows, columns) > imagePositionEmbeddings) {
    throw new UsageError(
      `${size} results in a map of ${columns}×${rows}; the checkpoint has position embeddings for ${imagePositionEmbeddings} per side.`,
    );
  }
  const { windowSize, patchSize } = config.vision;
  const first = mapSize({ ...config.vision, patchSize: patchSize.slice(0, 1) }, height, width); // the largest map
  if (windowSize > Math.max(...first, MOST_PADDED_WINDOW)) {
    throw new Florence2Error(
      `vision_config.window_size is ${windowSize}, larger than the largest map of an image of ${width}×${height}, which is ${first[1]}×${first[0]}.`,
    );
  }
  const tokens = imageTokenCount(config.vision, { height, width });
  if (tokens >= maxPositionEmbeddings) {
    throw new UsageError(
      `${size} results in ${tokens} image tokens; the language model has ${maxPositionEmbeddings} positions.`,
    );
  }
}

/** Largest weights on wasm, in bytes. Its heap ends at 4 GiB; larger ones leave too little for the activations. */
const WASM_WEIGHTS = 2.5 * 2 ** 30;

function checkMemory(model: Florence2Model, backend: BackendName): void {
  const required = [...model.parameters.values()].filter(({ optional }) => !optional);
  const bytes = required.reduce((sum, { shape }) => sum + 4 * elementCount(shape), 0);
  if (backend === 'wasm' && bytes > WASM_WEIGHTS) {
    throw new Florence2Error(
      `The weights of this model take ${(bytes / 2 ** 30).toFixed(1)} GiB, and the wasm backend has 4 GiB in all. Use the tensorflow backend (florence2 setup tensorflow).`,
      { code: 'BACKEND' },
    );
  }
}
