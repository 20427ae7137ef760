import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import { Florence2Error } from '../errors.ts';
import { type Folder, readText } from '../files/folder.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { onBackendOf } from '../nn/on_backend.ts';
import { Parameter } from '../nn/params.ts';
import { readCalibration } from '../results/calibration.ts';
import { ADAPTER_WEIGHT_FILES, openTensors } from '../weights/checkpoint.ts';
import { canonicalName, DECODER_TABLE_NAME, SHARED_NAME } from '../weights/names.ts';
import type { TensorFile, TensorInfo } from '../weights/tensor_file.ts';
import { type AdapterConfig, parseAdapterConfig } from './config.ts';
import { Lora } from './lora.ts';
import { TABLES, UNUSED_TABLE } from './lora_layers.ts';
import { isWithin, patternValue } from './target_modules.ts';

/**
 * Reads an adapter in PEFT's format: adapter_config.json, and adapter_model.safetensors or adapter_model.bin. Module
 * names may be those of transformers or of Microsoft's code. The tensors in the file determine which layers are
 * adapted, not the targets in the config.
 *
 * @param weights tensors to read instead of the folder's, for example from another step of the training. They are
 *   closed.
 * @throws Florence2Error naming the file and the tensor or field that is missing, not supported, or does not fit the
 *   model or the config
 */
export async function readAdapter(model: Florence2Model, folder: Folder, weights?: TensorFile): Promise<Lora> {
  const config = await readAdapterConfig(folder);
  const file = weights ?? (await openWeights(folder));
  const lora = new Lora(config.settings, config.dora);
  try {
    const source = { model, config, file };
    const { layers, others } = sortTensors(file);
    await readTables(lora, layers, source);
    await readLayers(lora, layers, source);
    await readReplacements(lora, others, source);
    lora.calibration = await readCalibration(folder);
    if (lora.parameters.length === 0) throw new Florence2Error(`${file.path} contains no LoRA tensors.`);
    return lora;
  } catch (error) {
    lora.dispose();
    throw error;
  } finally {
    await file.close();
  }
}

/** Reads and parses the adapter_config.json of a folder. Throws like `readAdapter`. */
export async function readAdapterConfig(folder: Folder): Promise<AdapterConfig> {
  const path = folder.pathOf('adapter_config.json');
  const text = await readText(folder, 'adapter_config.json');
  if (text !== undefined) return parseAdapterConfig(text, path);
  const problem = (await folder.exists())
    ? `${path} does not exist.`
    : `${folder.path} is not a folder: an adapter is a folder with adapter_config.json.`;
  throw new Florence2Error(problem);
}

async function openWeights(folder: Folder): Promise<TensorFile> {
  for (const name of ADAPTER_WEIGHT_FILES) {
    const file = await openTensors(folder, name);
    if (file) return file;
  }
  throw new Florence2Error(`${folder.pathOf('adapter_model.safetensors')} does not exist.`);
}

interface Source {
  model: Florence2Model;
  config: AdapterConfig;
  file: TensorFile;
}

/** The matrices A and B of a layer and, for DoRA, the lengths of the weight's columns. `path` is its name in the file. */
interface Pair {
  path: string;
  a?: TensorInfo;
  b?: TensorInfo;
  lengths?: TensorInfo;
}

/** A tensor that replaces a parameter of the model. */
interface OwnTensor extends TensorInfo {
  /** Name of the module in the file. */
  path: string;
  /** Canonical name of the parameter. */
  canonical: string;
  /** Whether it is the encoder's table, a copy of the shared one. */
  isCopy: boolean;
  transposed: boolean;
}

function sortTensors(file: TensorFile): { layers: Map<string, Pair>; others: OwnTensor[] } {
  const layers = new Map<string, Pair>();
  const others: OwnTensor[] = [];
  for (const tensor of file.tensors.values()) {
    const name = tensor.name.replace(/^base_model\.model\./, '');
    const [, path, matrix, lengths] =
      name.match(/^(.+)\.(?:lora_(?:embedding_)?([AB])(?:\.weight)?|lora_(magnitude_vector)(?:\.weight)?)$/) ?? [];
    // PEFT wraps adapted layers, so `fc1.bias` becomes `fc1.base_layer.bias`.
    const found = canonicalName(path ?? name.replace('.base_layer.', '.'));
    if (!found || (!path && name.includes('.lora_'))) {
      throw new Florence2Error(`${file.path}: ${tensor.name} is not a tensor of a LoRA adapter for Florence-2.`);
    }
    const canonical = found.name ?? found.copyOf;
    if (canonical === UNUSED_TABLE) continue;
    if (path === undefined) {
      const parent = name.replace('.base_layer.', '.').replace(/\.?[^.]*$/, '');
      const isCopy = found.name === undefined;
      others.push({ ...tensor, path: parent, canonical, isCopy, transposed: found.transposed ?? false });
      continue;
    }
    const pair = layers.get(canonical) ?? { path };
    if (pair.path !== path)
      throw new Florence2Error(`${file.path}: ${pair.path} and ${path} are the same layer, ${canonical}.`);
    pair[lengths ? 'lengths' : matrix === 'A' ? 'a' : 'b'] = tensor;
    layers.set(canonical, pair);
  }
  // The embedding table comes first, because a head is compared with it.
  others.sort((a, b) => Number(b.canonical === SHARED_NAME) - Number(a.canonical === SHARED_NAME));
  return { layers, others };
}

/** Reads the adapters of tables of embeddings, and takes them out of `layers`. */
async function readTables(lora: Lora, layers: Map<string, Pair>, { model, config, file }: Source): Promise<void> {
  for (const module of TABLES) {
    const pair = layers.get(module);
    if (!pair) continue;
    layers.delete(module);
    if (config.dora) throw new Florence2Error(`${file.path}: DoRA of embeddings is not supported (${pair.path}).`);
    const { a, b } = requirePair(file, pair);
    const weight = model.parameters.get(`${module}.weight`)!;
    const table = lora.adaptTable(module, weight, ...rankAndAlpha(config, pair.path));
    await fill(file, model, [a, table.a], [b, table.b]);
  }
}

/** Reads the tensors that replace parameters of the model. */
async function readReplacements(lora: Lora, tensors: OwnTensor[], source: Source): Promise<void> {
  const { model, config, file } = source;
  const isSaved = ({ path }: OwnTensor): boolean => config.modulesToSave.some(module => isWithin(path, module));
  const hasTable = tensors.some(({ canonical }) => canonical === SHARED_NAME);
  const tied = tiedWeights(model);
  const settled = new Set([...lora.embeddings.values()].map(({ weight }) => weight.name)); // have their values already
  for (const tensor of tensors) {
    const saved = isSaved(tensor);
    if (saved && tensor.isCopy) continue; // nothing is looked up in it
    const isTied = tied.some(({ name }) => name === tensor.canonical);
    // A table that was not trained separately is the shared one, and a tied head if there is no other.
    const isTable = !saved && isTied && (tensor.canonical === DECODER_TABLE_NAME || !hasTable);
    const same = await readOwn(lora, tensor, isTable ? SHARED_NAME : tensor.canonical, isTied, source);
    if (!same || saved) settled.add(tensor.canonical);
  }
  for (const { weight } of lora.embeddings.values()) {
    if (lora.own.has(weight.name)) throw new Florence2Error(`${file.path} both adapts and replaces ${weight.name}.`);
  }
  const isSeparate = tensors.some(tensor => tensor.canonical === SHARED_NAME && !tensor.isCopy && isSaved(tensor));
  if (!lora.embeddings.has(TABLES[0]) && !(isSeparate && lora.own.has(SHARED_NAME))) return;
  // PEFT changes the table of prompts alone: what is tied to it keeps its values.
  model.compute(() => {
    for (const parameter of tied) if (!settled.has(parameter.name)) lora.untie(parameter);
  });
}

/** Returns the parameters that are the shared table of embeddings: that of the decoder, and the head. */
const tiedWeights = ({ lmHead, languageModel: { answers, shared } }: Florence2Model): Parameter[] =>
  [answers.weight, lmHead.weight].filter(({ original }) => original === shared.weight.original);

async function readLayers(lora: Lora, layers: Map<string, Pair>, { model, config, file }: Source): Promise<void> {
  const unknown = [...layers].find(([module]) => !model.adaptable.has(module));
  if (unknown) {
    const reason = model.parameters.has(`${unknown[0]}.weight`)
      ? 'LoRA is supported on Linear, convolutions and embeddings, not on this layer'
      : 'this model has no Linear or Conv2d of that name';
    throw new Florence2Error(`${file.path} adapts ${unknown[1].path}; ${reason}.`);
  }
  for (const [module, { weight }] of model.adaptable) {
    const pair = layers.get(module);
    if (!pair) continue;
    const { a, b } = requirePair(file, pair);
    const [r, alpha] = rankAndAlpha(config, pair.path);
    if (weight.layout === 'depthwise' && (config.dora || r % weight.shape[0] !== 0)) {
      const what = config.dora ? 'DoRA' : `Rank ${r}`;
      throw new Florence2Error(
        `${file.path}: ${what} of the depthwise convolution ${pair.path} is not supported: PEFT allows LoRA whose rank is a multiple of its ${weight.shape[0]} channels.`,
      );
    }
    const layer = lora.adapt(module, weight, r, alpha);
    requireLengths(file, pair, config.dora);
    if (a.shape.length === layer.a.shape.length && a.shape[0] !== r) {
      throw new Florence2Error(`${file.path}: ${a.name} has rank ${a.shape[0]}, but adapter_config.json says ${r}.`);
    }
    if (layer.lengths && weight.layout === 'plain') {
      throw new Florence2Error(`${file.path}: DoRA of the output layer is not supported (${pair.lengths!.name}).`);
    }
    const lengths = layer.lengths ? [[pair.lengths!, layer.lengths] as const] : [];
    await fill(file, model, [a, layer.a], [b, layer.b], ...lengths);
  }
  model.compute(() => lora.compute());
}

function requirePair(file: TensorFile, { path, a, b }: Pair): { a: TensorInfo; b: TensorInfo } {
  if (a && b) return { a, b };
  throw new Florence2Error(`${file.path} contains lora_${a ? 'A' : 'B'} of ${path}, but not lora_${a ? 'B' : 'A'}.`);
}

const rankAndAlpha = ({ settings, rankPattern, alphaPattern }: AdapterConfig, path: string): [number, number] => [
  patternValue(rankPattern, path) ?? settings.r,
  patternValue(alphaPattern, path) ?? settings.alpha,
];

/** Loads tensors of the file into parameters of the adapter. */
async function fill(
  file: TensorFile,
  model: Florence2Model,
  ...pairs: (readonly [TensorInfo, Parameter])[]
): Promise<void> {
  for (const [tensor, parameter] of pairs) {
    requireShape(file, tensor, parameter.shape);
    const values = await file.readFloat32(tensor.name);
    model.compute(() => parameter.load(values));
  }
}

function requireLengths(file: TensorFile, { path, lengths }: Pair, dora: boolean): void {
  if (dora === (lengths !== undefined)) return;
  throw new Florence2Error(
    `${file.path} ${dora ? 'lacks' : 'contains'} the lora_magnitude_vector of ${path}, but adapter_config.json says use_dora ${dora}.`,
  );
}

/**
 * Reads a tensor that replaces the parameter `name` of the model. Ignores it if its values equal those that the parameter
 * has anyway, and returns true.
 *
 * @param isTied whether the parameter is the shared table, which the adapter may replace too
 */
async function readOwn(
  lora: Lora,
  tensor: OwnTensor,
  name: string,
  isTied: boolean,
  { model, file }: Source,
): Promise<boolean> {
  const replaced = model.parameters.get(name);
  if (!replaced) throw new Florence2Error(`${file.path} contains ${tensor.name}, which this model does not have.`);
  requireShape(file, tensor, tensor.transposed ? replaced.shape.toReversed() : replaced.shape);
  const own = new Parameter(replaced.name, replaced.shape, replaced.layout);
  const values = await file.readFloat32(tensor.name);
  model.compute(() => (tensor.transposed ? own.replace(tf.tensor(values, tensor.shape)) : own.load(values)));
  const before = lora.own.get(own.name);
  const present = before ?? (isTied ? lora.own.get(SHARED_NAME) : undefined);
  const same = await equal(own.value, present?.value ?? replaced.original);
  if (!same && !before) {
    lora.own.set(own.name, own);
    return false;
  }
  own.dispose();
  if (!same) {
    throw new Florence2Error(`${file.path}: ${tensor.name} differs from another tensor for ${own.name}.`);
  }
  return true;
}

function requireShape(file: TensorFile, { name, shape }: TensorInfo, expected: number[]): void {
  if (shape.join() === expected.join()) return;
  throw new Florence2Error(
    `${file.path}: ${name} has shape [${shape.join(', ')}], but this model needs [${expected.join(', ')}].`,
  );
}

async function equal(a: tf.Tensor, b: tf.Tensor): Promise<boolean> {
  const { values } = await download(onBackendOf(b, () => tf.tidy(() => tf.all(tf.equal(a, b)))));
  return values[0] === 1;
}
