import type { GenerationConfig } from '../config/generation.ts';
import type { PreprocessorConfig } from '../config/preprocessor.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import type { Precision } from '../model/executor.ts';
import { fastestExecutor } from '../model/fastest_executor.ts';
import { Florence2Model } from '../model/florence2_model.ts';
import { openFolder } from '../platform/node.ts';
import { type BackendChoice, type BackendName, useBackend } from '../runtime/backend.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { mapSize } from '../vision/davit.ts';
import { canonicalCheckpoint } from '../weights/canonical.ts';
import { openCheckpoint } from '../weights/checkpoint.ts';
import { elementCount } from '../weights/tensor_file.ts';
import { findCheckpoint } from './find.ts';
import { loadConfig } from './load_config.ts';
import { loadParameters } from './load_parameters.ts';
import { loadTokenizer } from './tokenizer_files.ts';

/** Loads the parts of a `Florence2` from a checkpoint. */
export async function loadParts(dirOrHubId: string, options: LoadOptions): Promise<Florence2Parts> {
  const { revision, onProgress } = options;
  const folder = await findCheckpoint(dirOrHubId, { revision, onProgress });
  const files = openFolder(folder);
  const { config, generation, preprocessor } = await loadConfig(files);
  const side = options.imageSize;
  if (side !== undefined && !(Number.isSafeInteger(side) && side >= 1)) {
    throw new UsageError(`imageSize must be a whole number of pixels, not ${side}.`);
  }
  const resized = side === undefined ? preprocessor : { ...preprocessor, width: side, height: side };
  const { precision } = options;
  if (precision !== undefined && precision !== 'fp32' && precision !== 'bf16') {
    throw new UsageError(`precision must be fp32 or bf16, not ${precision}.`);
  }
  const model = new Florence2Model(config);
  checkImageSize(model, resized);
  const tokenizer = await loadTokenizer(files);
  const file = await openCheckpoint(files);
  try {
    const checkpoint = await canonicalCheckpoint(file);
    const backend = await useBackend(options.backend ?? 'auto');
    checkMemory(model, backend.name);
    model.executor = await fastestExecutor(model, precision);
    await loadParameters(model.parameters, checkpoint, (loaded, total) => {
      onProgress?.({ stage: 'load', file: file.path, loaded, total });
    });
    model.lmHead.prepare();
    return { folder, model, tokenizer, generation, preprocessor: resized, backend };
  } catch (error) {
    model.dispose();
    throw error;
  } finally {
    await file.close();
  }
}

function checkImageSize({ config }: Florence2Model, { width, height }: { width: number; height: number }): void {
  const [rows, columns] = mapSize(config.vision, height, width);
  const { imagePositionEmbeddings } = config.vision;
  const { maxPositionEmbeddings } = config.text;
  const size = `An image size of ${width}×${height}`;
  if (rows < 1 || columns < 1) throw new UsageError(`${size} is too small for this model's strides.`);
  if (Math.max(rows, columns) > imagePositionEmbeddings) {
    throw new UsageError(
      `${size} makes a map of ${columns}×${rows}; the checkpoint has position embeddings for ${imagePositionEmbeddings} a side.`,
    );
  }
  if (rows * columns + 1 >= maxPositionEmbeddings) {
    throw new UsageError(
      `${size} makes ${rows * columns + 1} image tokens; the language model has ${maxPositionEmbeddings} positions.`,
    );
  }
}

/** wasm addresses 4 GiB; weights beyond this leave too little of it for the activations of one image. */
const WASM_WEIGHTS = 2.5 * 2 ** 30;

function checkMemory(model: Florence2Model, backend: BackendName): void {
  const required = [...model.parameters.values()].filter(({ optional }) => !optional);
  const bytes = required.reduce((sum, { shape }) => sum + 4 * elementCount(shape), 0);
  if (backend === 'wasm' && bytes > WASM_WEIGHTS) {
    throw new Florence2Error(
      `This model's weights take ${(bytes / 2 ** 30).toFixed(1)} GiB and a wasm program has 4 GiB in all: use the tensorflow backend (florence2 setup tensorflow).`,
    );
  }
}

/** How far a long step has come, in bytes. */
export interface Progress {
  stage: 'download' | 'load';
  file?: string;
  loaded: number;
  total: number;
}

export interface LoadOptions {
  /** Default `auto`: the first that works of tensorflow, webgpu, wasm, cpu. It becomes tfjs's backend for the process. */
  backend?: BackendName | 'auto';
  /** Branch, tag or commit of a hub repository. Default `main`. */
  revision?: string;
  /** Side in pixels to which every image is resized. Default: what preprocessor_config.json says, else 768. */
  imageSize?: number;
  /**
   * `bf16`: products of the vision tower and the encoder take about half the time on processors that have bf16, and are
   * less exact (docs/speed.md). Tensorflow on a CPU only. Default `fp32`.
   */
  precision?: Precision;
  onProgress?: (progress: Progress) => void;
}

/** What a loaded model is made of. */
export interface Florence2Parts {
  /** Where the checkpoint's files are. */
  folder: string;
  model: Florence2Model;
  tokenizer: Tokenizer;
  generation: GenerationConfig;
  preprocessor: PreprocessorConfig;
  backend: BackendChoice;
}
