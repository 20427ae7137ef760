import { readdir } from 'node:fs/promises';
import { Florence2Error, UsageError } from '../errors.ts';
import type { Folder } from '../files/folder.ts';
import { isRecord } from '../json.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { openFolder } from '../platform/node.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { checkpointValues } from '../weights/canonical.ts';
import { canonicalName, toMicrosoft, toNative } from '../weights/names.ts';
import { safetensorsContent, type TensorToWrite } from '../weights/safetensors.ts';
import { readJson } from './load_config.ts';
import { jsonBytes, saveTokenizer } from './tokenizer_files.ts';

/** Tensor names of a checkpoint: Microsoft's code (`trust_remote_code`), or transformers' native Florence-2. */
export type CheckpointLayout = 'microsoft' | 'native';

/** Returns a tensor with the name and orientation of a layout, given its canonical name, shape and values. */
export function storedTensor(
  name: string,
  shape: number[],
  layout: CheckpointLayout,
  dtype: 'F32' | 'F16' | 'BF16',
  data: () => Float32Array | Promise<Float32Array>,
): TensorToWrite {
  const fileName = layout === 'microsoft' ? toMicrosoft(name) : toNative(name);
  if (!canonicalName(fileName)?.transposed) return { name: fileName, shape, dtype, data };
  return { name: fileName, shape: shape.toReversed(), dtype, data: async () => transpose(await data(), shape) };
}

function transpose(values: Float32Array, [rows, columns]: number[]): Float32Array {
  return values.map((_, at) => values[(at % rows) * columns + Math.floor(at / rows)]);
}

/** The parts of a model that are written to a checkpoint. `Florence2` has them. */
export interface CheckpointParts {
  model: Florence2Model;
  tokenizer: Tokenizer;
  /** The folder from which the model was loaded. */
  folder: string;
}

type FloatDtype = 'F32' | 'F16' | 'BF16';

/**
 * Writes a model as a complete checkpoint: the weights, in the layout in which they were loaded, and the configuration,
 * tokenizer and Python code that belong to them. Configuration and tokenizer are updated.
 *
 * @param to receives the files; files with the same names are replaced
 * @param dtype of the weights. Default F32
 * @throws UsageError while an adapter is active that is not merged
 */
export async function writeCheckpoint(
  { model, tokenizer, folder }: CheckpointParts,
  to: Folder,
  dtype: FloatDtype = 'F32',
): Promise<void> {
  if ([...model.adaptable.values()].some(({ adapters }) => adapters)) {
    throw new UsageError(
      'An adapter is active, and a checkpoint cannot contain it: merge it first, or save it with adapters.save.',
    );
  }
  const from = openFolder(folder);
  const unchanged = (await readdir(folder)).filter(name => COPIED.test(name));
  for (const name of unchanged) await to.write(name, (await from.read(name))!);
  const processor = openFolder(tokenizer.source ?? folder); // may be another checkpoint's
  for (const name of ['preprocessor_config.json', 'processor_config.json']) {
    const content = await processor.read(name);
    if (content) await to.write(name, content);
  }
  await saveTokenizer(tokenizer, processor, to);
  const config = (await readJson(from, 'config.json'))?.json;
  if (!config) throw new Florence2Error(`${from.pathOf('config.json')} does not exist.`);
  const hasCode = unchanged.some(name => name.endsWith('.py'));
  const updated = updateConfig(hasCode ? config : locateCode(config, folder), model, dtype);
  await to.write('config.json', jsonBytes(updated));
  const tensors = [...model.parameters.values()]
    .filter(({ loaded }) => loaded)
    .map(parameter =>
      storedTensor(parameter.name, parameter.shape, model.config.dialect, dtype, () => checkpointValues(parameter)),
    );
  const weights = 'model.safetensors';
  await to.write(weights, safetensorsContent(to.pathOf(weights), tensors));
}

/** Files that are copied unchanged. */
const COPIED = /^generation_config\.json$|\.py$/;

type Json = Record<string, unknown>;

const TORCH_DTYPES: Record<FloatDtype, string> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

/** Returns the config with the vocabulary size, the dtype of the weights, and the tie of the head updated. */
function updateConfig(config: Json, { config: { text, dialect }, lmHead }: Florence2Model, dtype: FloatDtype): Json {
  const has = (fields: Json, name: string, value: unknown): Json => (name in fields ? { [name]: value } : {});
  const update = (fields: unknown): Json => {
    if (!isRecord(fields)) return {};
    const types = ['torch_dtype', 'dtype'].map(name => has(fields, name, TORCH_DTYPES[dtype]));
    return Object.assign({ ...fields, ...has(fields, 'vocab_size', text.vocabSize) }, ...types);
  };
  const untied = lmHead.weight.loaded ? { tie_word_embeddings: false } : {};
  return {
    ...(dialect === 'native' && !('torch_dtype' in config) ? { dtype: TORCH_DTYPES[dtype] } : {}),
    ...(dialect === 'microsoft' && !('dtype' in config) ? { torch_dtype: TORCH_DTYPES[dtype] } : {}),
    ...update(config),
    text_config: { ...update(config.text_config), ...untied },
    vision_config: update(config.vision_config),
    ...untied,
  };
}

/**
 * Microsoft's config names the Python code that runs the model (`auto_map`). Downloads in the hub's cache do not
 * contain this code, so the names are prefixed with the repository, where transformers then finds it. transformers does
 * the same when it saves such a model.
 */
function locateCode(config: Json, source: string): Json {
  const [, id] = source.match(/[\\/]models--([^\\/]+)[\\/]snapshots[\\/]/) ?? [];
  if (!isRecord(config.auto_map) || !id) return config;
  const repository = id.replaceAll('--', '/');
  const located = Object.entries(config.auto_map).map(([name, code]) => [
    name,
    typeof code === 'string' && !code.includes('--') ? `${repository}--${code}` : code,
  ]);
  return { ...config, auto_map: Object.fromEntries(located) };
}
