import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Florence2Config,
  type GenerationConfig,
  type PreprocessorConfig,
  parseConfig,
  parseGenerationConfig,
  parsePreprocessorConfig,
} from '../config/model.ts';
import { Florence2Error } from '../errors.ts';
import { fileError } from '../files/errors.ts';
import { parseJsonObject } from '../json.ts';

export interface LoadedConfig {
  readonly config: Florence2Config;
  readonly generation: GenerationConfig;
  readonly preprocessor: PreprocessorConfig;
}

/**
 * Reads config.json, and generation_config.json and preprocessor_config.json (or processor_config.json) where the folder
 * has them. Without them Florence-2's own settings hold.
 */
export async function loadConfig(folder: string): Promise<LoadedConfig> {
  const config = await readJson(folder, 'config.json');
  if (!config) throw new Florence2Error(await missingConfig(folder));
  const generation = await readJson(folder, 'generation_config.json');
  const preprocessor = (await readJson(folder, 'preprocessor_config.json')) ?? (await processorConfig(folder));
  return {
    config: parseConfig(config.json, config.file),
    generation: parseGenerationConfig(generation?.json ?? {}, generation?.file),
    preprocessor: parsePreprocessorConfig(preprocessor?.json ?? {}, preprocessor?.file),
  };
}

/** processor_config.json speaks of images only where it holds an image processor. */
async function processorConfig(folder: string): Promise<JsonFile | undefined> {
  const found = await readJson(folder, 'processor_config.json');
  return found && 'image_processor' in found.json ? found : undefined;
}

async function missingConfig(folder: string): Promise<string> {
  const isFolder = (await stat(folder).catch(() => undefined))?.isDirectory();
  return isFolder
    ? `${folder} has no config.json: it is not the folder of a Florence-2 checkpoint.`
    : `${folder} is not a folder.`;
}

interface JsonFile {
  file: string;
  json: Record<string, unknown>;
}

/** A JSON file of the folder; undefined when it is not there. */
async function readJson(folder: string, name: string): Promise<JsonFile | undefined> {
  const file = join(folder, name);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw fileError(file, error);
  }
  return { file, json: parseJsonObject(text, file) };
}
