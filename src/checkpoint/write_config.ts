import type { Florence2Config } from '../config/model.ts';
import type { PreprocessorConfig } from '../config/preprocessor.ts';
import { isRecord } from '../json.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { imageTokenCount } from '../vision/davit.ts';
import { DECODER_TABLE_NAME } from '../weights/names.ts';
import { IMAGE_TOKEN } from './tokenizer_files.ts';

/**
 * Returns a model's config for the other layout. The native layout has an image token; it gets the first id that is
 * free, and the vocabulary grows if it has no row for it. Microsoft's layout keeps the row.
 */
export function convertConfig(config: Florence2Config, tokenizer: Tokenizer): Florence2Config {
  if (config.dialect === 'native') return { ...config, dialect: 'microsoft', imageTokenId: null };
  const imageTokenId = tokenizer.tokenToId(IMAGE_TOKEN) ?? tokenizer.size;
  const vocabSize = Math.max(config.text.vocabSize, imageTokenId + 1);
  return { ...config, dialect: 'native', imageTokenId, text: { ...config.text, vocabSize } };
}

/** Returns the contents of the files from which transformers' `AutoProcessor` creates a processor, by file name. */
export function processorFiles(config: Florence2Config, image: PreprocessorConfig): Record<string, object> {
  const { height, width } = image;
  const processorClass = { processor_class: 'Florence2Processor' };
  const preprocessor = {
    ...{ image_processor_type: 'CLIPImageProcessor', ...processorClass },
    ...{ do_resize: true, size: { height, width }, resample: 3, do_center_crop: false, crop_size: { height, width } },
    ...{ do_rescale: true, rescale_factor: image.rescaleFactor },
    ...{ do_normalize: true, image_mean: image.imageMean, image_std: image.imageStd },
    image_seq_length: imageTokenCount(config.vision, image),
  };
  if (config.dialect === 'native') {
    return { 'preprocessor_config.json': preprocessor, 'processor_config.json': processorClass };
  }
  const auto_map = { AutoProcessor: 'microsoft/Florence-2-base--processing_florence2.Florence2Processor' };
  return { 'preprocessor_config.json': { ...preprocessor, auto_map } };
}

type Json = Record<string, unknown>;

/**
 * Returns the config with the vocabulary size, the dtype of the weights, and the ties of the tables updated. transformers
 * ties the head by the field of the whole config, and the tables of encoder and decoder by that of `text_config`: where it
 * finds false and no table in the file, it makes up a random one. Microsoft's code ties the head by `text_config`.
 *
 * @param separate names of the tables that are not the shared one
 */
export function updateConfig(
  json: Json,
  { text, dialect }: Florence2Config,
  dtype: string,
  separate: readonly string[],
): Json {
  const has = (fields: Json, name: string, value: unknown): Json => (name in fields ? { [name]: value } : {});
  const update = (fields: unknown): Json => {
    if (!isRecord(fields)) return {};
    const types = ['torch_dtype', 'dtype'].map(name => has(fields, name, dtype));
    return Object.assign({ ...fields, ...has(fields, 'vocab_size', text.vocabSize) }, ...types);
  };
  const isTied = separate.length === 0;
  const decoderIsTied = dialect === 'native' && !separate.includes(DECODER_TABLE_NAME);
  return {
    ...(dialect === 'native' && !('torch_dtype' in json) ? { dtype } : {}),
    ...(dialect === 'microsoft' && !('dtype' in json) ? { torch_dtype: dtype } : {}),
    ...update(json),
    text_config: { ...update(json.text_config), ...(isTied ? {} : { tie_word_embeddings: decoderIsTied }) },
    vision_config: update(json.vision_config),
    ...(isTied ? {} : { tie_word_embeddings: false }),
  };
}

/**
 * Returns a config as the text of its file. Fields that the original file has as `4.0` are written so: Python tells 4.0
 * from 4, and transformers refuses a whole number where it expects a float. JavaScript does not.
 */
export function configText(json: Json, original: string): string {
  const floats = new Set(Array.from(original.matchAll(/"(\w+)"\s*:\s*-?\d+\.0+\s*[,}]/g), ([, name]) => name));
  const asFloat = (line: string, name: string): string => (floats.has(name) ? `${line}.0` : line);
  return `${JSON.stringify(json, null, 2).replace(/"(\w+)": -?\d+(?=,?$)/gm, asFloat)}\n`;
}

/**
 * Microsoft's config names the Python code that runs the model (`auto_map`). Downloads in the hub's cache do not
 * contain this code, so the names are prefixed with the repository, where transformers then finds it. transformers does
 * the same when it saves such a model.
 */
export function locateCode(config: Json, source: string): Json {
  const [, id] = source.match(/[\\/]models--([^\\/]+)[\\/]snapshots[\\/]/) ?? [];
  if (!isRecord(config.auto_map) || !id) return config;
  const repository = id.replaceAll('--', '/');
  const located = Object.entries(config.auto_map).map(([name, code]) => [
    name,
    typeof code === 'string' && !code.includes('--') ? `${repository}--${code}` : code,
  ]);
  return { ...config, auto_map: Object.fromEntries(located) };
}
