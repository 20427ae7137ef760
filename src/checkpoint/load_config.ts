import { type GenerationConfig, parseGenerationConfig } from '../config/generation.ts';
import { type Florence2Config, parseConfig } from '../config/model.ts';
import { type PreprocessorConfig, parsePreprocessorConfig } from '../config/preprocessor.ts';
import { Florence2Error } from '../errors.ts';
import { type Folder, readText } from '../files/folder.ts';
import { parseJsonObject } from '../json.ts';
import { refuseQuantisedConfig } from '../weights/quantised.ts';

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
 * @param processor the folder of the settings of images
 * @throws Florence2Error naming the file and the field if one is missing or not supported
 */
export async function loadConfig(folder: Folder, processor: Folder = folder): Promise<LoadedConfig> {
  const config = await readJson(folder, 'config.json');
  if (!config) throw new Florence2Error(await missingConfig(folder));
  refuseQuantisedConfig(config.json, config.file);
  const generation = await readJson(folder, 'generation_config.json');
  const preprocessor = (await readJson(processor, 'preprocessor_config.json')) ?? (await processorConfig(processor));
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
  if (!(await folder.exists())) return `${folder.path} is not a folder.`;
  const adapter = (await readJson(folder, 'adapter_config.json'))?.json;
  return adapter
    ? adapterAdvice(folder.path, adapter)
    : `${folder.path} has no config.json, so it is not a Florence-2 checkpoint.`;
}

/** Returns what to do with an adapter that is given in place of a checkpoint. */
export function adapterAdvice(name: string, { base_model_name_or_path: base }: Record<string, unknown>): string {
  const model = typeof base === 'string' && base !== '' ? base : 'another model';
  return `${name} is an adapter of ${model}: load that model, then the adapter with loadAdapter (--model … --adapter …).`;
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
