import { type GenerationConfig, parseGenerationConfig } from '../config/generation.ts';
import { type Florence2Config, parseConfig } from '../config/model.ts';
import { type PreprocessorConfig, parsePreprocessorConfig } from '../config/preprocessor.ts';
import { Florence2Error } from '../errors.ts';
import { type Folder, readText } from '../files/folder.ts';
import { parseJsonObject } from '../json.ts';

/** The parsed configuration files of a checkpoint. */
export interface LoadedConfig {
  readonly config: Florence2Config;
  readonly generation: GenerationConfig;
  readonly preprocessor: PreprocessorConfig;
}

/**
 * Reads config.json, generation_config.json and preprocessor_config.json (or processor_config.json) of a checkpoint.
 * All but config.json are optional; without them Florence-2's own settings apply.
 *
 * @throws Florence2Error naming the file and the field if one is missing or not supported
 */
export async function loadConfig(folder: Folder): Promise<LoadedConfig> {
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

/** Returns processor_config.json if it contains settings for images. */
async function processorConfig(folder: Folder): Promise<JsonFile | undefined> {
  const found = await readJson(folder, 'processor_config.json');
  return found && 'image_processor' in found.json ? found : undefined;
}

async function missingConfig(folder: Folder): Promise<string> {
  return (await folder.exists())
    ? `${folder.path} has no config.json, so it is not a Florence-2 checkpoint.`
    : `${folder.path} is not a folder.`;
}

interface JsonFile {
  file: string;
  json: Record<string, unknown>;
}

/** Reads a JSON file of the folder; undefined if it does not exist. */
export async function readJson(folder: Folder, name: string): Promise<JsonFile | undefined> {
  const text = await readText(folder, name);
  const file = folder.pathOf(name);
  return text === undefined ? undefined : { file, json: parseJsonObject(text, file) };
}
