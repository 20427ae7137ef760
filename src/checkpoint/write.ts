import { readdir } from 'node:fs/promises';
import { formatConfig } from '../config/format.ts';
import type { PreprocessorConfig } from '../config/preprocessor.ts';
import { Florence2Error } from '../errors.ts';
import { type Folder, readText } from '../files/folder.ts';
import { writeNewFolder } from '../files/write.ts';
import { parseJsonObject } from '../json.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import type { Adaptation } from '../nn/params.ts';
import { checkKind, checkOptions, type OptionTable, oneOf, text } from '../options.ts';
import { openFolder } from '../platform/node.ts';
import { CALIBRATION_FILE, type Calibration, formatCalibration } from '../results/calibration.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { canonicalName, DECODER_TABLE_NAME, HEAD_NAME } from '../weights/names.ts';
import { safetensorsContent } from '../weights/safetensors.ts';

import { type CheckpointLayout, storedTensors } from './stored_tensors.ts';
import { jsonBytes, saveTokenizer } from './tokenizer_files.ts';
import { configText, convertConfig, locateCode, processorFiles, updateConfig } from './write_config.ts';

/** The parts of a model that are written to a checkpoint. `Florence2` has them. */
export interface CheckpointParts {
  model: Florence2Model;
  tokenizer: Tokenizer;
  /** The folder from which the model was loaded. */
  folder: string;
  preprocessor: PreprocessorConfig;
}

/** Options of `writeCheckpoint`. */
export interface WriteOptions extends SaveOptions {
  /** Adapters that are merged into the weights. Default: the active ones. */
  adaptation?: Adaptation;
}

/** Options of `Florence2.save`. */
export interface SaveOptions {
  /**
   * Names and files of transformers' Florence-2 (`native`), or of Microsoft's code (`microsoft`), which transformers
   * runs with `trust_remote_code`. Default: those of the checkpoint that was loaded.
   */
  layout?: CheckpointLayout;
  /** Type of the weights. Default `fp32`. */
  dtype?: 'fp32' | 'fp16' | 'bf16';
}

/**
 * Writes a model as a complete checkpoint: weights, configuration, tokenizer, processor and, if the checkpoint has it,
 * Microsoft's Python code. Active adapters are merged into the weights that are written. In another layout than the
 * loaded one, configuration and processor are converted; `<image>`, which the native layout needs, gets a row of its
 * table of embeddings.
 *
 * @param to receives the files; files with the same names are replaced
 * @throws UsageError if the native layout cannot hold the model (see `storedTensors`)
 */
export async function writeCheckpoint(
  parts: CheckpointParts,
  to: Folder,
  { layout = parts.model.config.dialect, dtype = 'fp32', adaptation = parts.model.adaptation }: WriteOptions = {},
): Promise<void> {
  const { model, tokenizer, folder } = parts;
  const isConverted = layout !== model.config.dialect;
  const config = isConverted ? convertConfig(model.config, tokenizer) : model.config;
  const tensors = await storedTensors(model, adaptation, config, DTYPES[dtype].stored);
  const from = openFolder(folder);
  const copied = (await readdir(folder)).filter(name =>
    (layout === 'native' ? NATIVE_FILES : MICROSOFT_FILES).test(name),
  );
  for (const name of copied) await to.write(name, (await from.read(name))!);
  const processor = openFolder(tokenizer.source ?? folder); // may be another checkpoint's
  await saveTokenizer(tokenizer, processor, to, isConverted ? config.imageTokenId : null);
  if (isConverted) {
    const files = processorFiles(config, parts.preprocessor);
    for (const [name, content] of Object.entries(files)) await to.write(name, jsonBytes(content));
  } else {
    for (const name of ['preprocessor_config.json', 'processor_config.json']) {
      const content = await processor.read(name);
      if (content) await to.write(name, content);
    }
  }
  const original = await readText(from, 'config.json');
  if (original === undefined) throw new Florence2Error(`${from.pathOf('config.json')} does not exist.`);
  const loaded = parseJsonObject(original, from.pathOf('config.json'));
  const hasCode = copied.some(name => name.endsWith('.py'));
  const json = isConverted ? formatConfig(config) : hasCode ? loaded : locateCode(loaded, folder);
  const stored = tensors.map(({ name }) => canonicalName(name)?.name);
  const separate = [DECODER_TABLE_NAME, HEAD_NAME].filter(name => stored.includes(name));
  const updated = updateConfig(json, config, DTYPES[dtype].named, separate);
  await to.write('config.json', new TextEncoder().encode(configText(updated, original)));
  const weights = 'model.safetensors';
  await to.write(weights, safetensorsContent(to.pathOf(weights), tensors));
}

const DTYPES = {
  fp32: { stored: 'F32', named: 'float32' },
  fp16: { stored: 'F16', named: 'float16' },
  bf16: { stored: 'BF16', named: 'bfloat16' },
} as const;

/** Files that are copied unchanged, by layout. */
const NATIVE_FILES = /^generation_config\.json$/;
const MICROSOFT_FILES = /^generation_config\.json$|\.py$/;

const SAVE_OPTIONS: OptionTable<SaveOptions> = {
  layout: oneOf('native', 'microsoft'),
  dtype: oneOf('fp32', 'fp16', 'bf16'),
};

/** What `Florence2.save` writes in addition to the parts of the checkpoint. */
export interface SavedParts extends CheckpointParts, Pick<Required<WriteOptions>, 'adaptation'> {
  calibration: Calibration | null;
}

/**
 * Writes a model as a checkpoint to a new folder, see `Florence2.save`. The folder appears when all files are complete.
 *
 * @throws UsageError for unknown options and for a folder that contains files; Florence2Error if it cannot be written
 */
export async function saveCheckpoint(parts: SavedParts, folder: string, options: SaveOptions): Promise<void> {
  checkKind('The folder of the checkpoint', folder, text);
  checkOptions('save', options, SAVE_OPTIONS);
  const { adaptation, calibration } = parts;
  await writeNewFolder(folder, async unfinished => {
    const to = openFolder(unfinished);
    await writeCheckpoint(parts, to, { ...options, adaptation });
    if (calibration) await to.write(CALIBRATION_FILE, formatCalibration(calibration));
  });
}
