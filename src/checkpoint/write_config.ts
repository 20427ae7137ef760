import type { Florence2Config } from '../config/model.ts';
import type { PreprocessorConfig } from '../config/preprocessor.ts';
import { isRecord } from '../json.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { imageTokenCount } from '../vision/davit.ts';
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

/** Returns the config with the vocabulary size, the dtype of the weights, and the tie of the head updated. */
export function updateConfig(json: Json, { text, dialect }: Florence2Config, dtype: string, isTied: boolean): Json {
  const has = (fields: Json, name: string, value: unknown): Json => (name in fields ? { [name]: value } : {});
  const update = (fields: unknown): Json => {
    if (!isRecord(fields)) return {};
    const types = ['torch_dtype', 'dtype'].map(name => has(fields, name, dtype));
    return Object.assign({ ...fields, ...has(fields, 'vocab_size', text.vocabSize) }, ...types);
  };
  const untied = isTied ? {} : { tie_word_embeddings: false };
  return {
    ...(dialect === 'native' && !('torch_dtype' in json) ? { dtype } : {}),
    ...(dialect === 'microsoft' && !('dtype' in json) ? { torch_dtype: dtype } : {}),
    ...update(json),
    text_config: { ...update(json.text_config), ...untied },
    vision_config: update(json.vision_config),
    ...untied,
  };
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
