import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import { Florence2Error } from '../errors.ts';
import { type Folder, readText } from '../files/folder.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { onBackendOf } from '../nn/on_backend.ts';
import { Parameter } from '../nn/params.ts';
import { readCalibration } from '../results/calibration.ts';
import { ADAPTER_WEIGHT_FILES, openTensors } from '../weights/checkpoint.ts';
import { canonicalName, HEAD_NAME, SHARED_NAME } from '../weights/names.ts';
import type { TensorFile, TensorInfo } from '../weights/tensor_file.ts';
import { type AdapterConfig, parseAdapterConfig } from './config.ts';
import { Lora } from './lora.ts';
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
    const { layers, others } = sortTensors(file);
    await readLayers(lora, layers, { model, config, file });
    const hasTable = others.some(({ canonical }) => canonical === SHARED_NAME);
    for (const tensor of others) await readOwn(lora, tensor, hasTable, { model, config, file });
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
  transposed: boolean;
}

function sortTensors(file: TensorFile): { layers: Map<string, Pair>; others: OwnTensor[] } {
  const layers = new Map<string, Pair>();
  const others: OwnTensor[] = [];
  for (const tensor of file.tensors.values()) {
    const name = tensor.name.replace(/^base_model\.model\./, '');
    const [, path, matrix, lengths] =
      name.match(/^(.+)\.(?:lora_([AB])\.weight|lora_(magnitude_vector)(?:\.weight)?)$/) ?? [];
    // PEFT wraps adapted layers, so `fc1.bias` becomes `fc1.base_layer.bias`.
    const found = canonicalName(path ?? name.replace('.base_layer.', '.'));
    if (!found || (!path && name.includes('.lora_'))) {
      throw new Florence2Error(`${file.path}: ${tensor.name} is not a tensor of a LoRA adapter for Florence-2.`);
    }
    const canonical = found.name ?? found.copyOf;
    if (path === undefined) {
      const parent = name.replace('.base_layer.', '.').replace(/\.?[^.]*$/, '');
      others.push({ ...tensor, path: parent, canonical, transposed: found.transposed ?? false });
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

async function readLayers(lora: Lora, layers: Map<string, Pair>, { model, config, file }: Source): Promise<void> {
  const unknown = [...layers].find(([module]) => !model.adaptable.has(module));
  if (unknown) {
    throw new Florence2Error(
      `${file.path} adapts ${unknown[1].path}; this model has no Linear or Conv2d of that name.`,
    );
  }
  for (const [module, { weight }] of model.adaptable) {
    const pair = layers.get(module);
    if (!pair) continue;
    const { path, a, b } = pair;
    if (!a || !b)
      throw new Florence2Error(
        `${file.path} contains lora_${a ? 'A' : 'B'} of ${path}, but not lora_${a ? 'B' : 'A'}.`,
      );
    const r = patternValue(config.rankPattern, path) ?? config.settings.r;
    const alpha = patternValue(config.alphaPattern, path) ?? config.settings.alpha;
    const layer = lora.adapt(module, weight, r, alpha);
    requireLengths(file, pair, config.dora);
    if (a.shape.length === layer.a.shape.length && a.shape[0] !== r) {
      throw new Florence2Error(`${file.path}: ${a.name} has rank ${a.shape[0]}, but adapter_config.json says ${r}.`);
    }
    if (layer.lengths && weight.layout === 'plain') {
      throw new Florence2Error(`${file.path}: DoRA of the output layer is not supported (${pair.lengths!.name}).`);
    }
    const lengths = layer.lengths ? [[pair.lengths!, layer.lengths] as const] : [];
    for (const [tensor, parameter] of [[a, layer.a] as const, [b, layer.b] as const, ...lengths]) {
      requireShape(file, tensor, parameter.shape);
      const values = await file.readFloat32(tensor.name);
      model.compute(() => parameter.load(values));
    }
  }
  model.compute(() => lora.direct());
}

function requireLengths(file: TensorFile, { path, lengths }: Pair, dora: boolean): void {
  if (dora === (lengths !== undefined)) return;
  throw new Florence2Error(
    `${file.path} ${dora ? 'lacks' : 'contains'} the lora_magnitude_vector of ${path}, but adapter_config.json says use_dora ${dora}.`,
  );
}

/** Reads a tensor that replaces a parameter of the model. Ignores it if its values equal the model's. */
async function readOwn(
  lora: Lora,
  tensor: OwnTensor,
  hasTable: boolean,
  { model, config, file }: Source,
): Promise<void> {
  const saved = config.modulesToSave.some(module => isWithin(tensor.path, module));
  if (saved && tensor.canonical === SHARED_NAME) {
    throw new Florence2Error(
      `${file.path}: ${tensor.name} is a separate table of embeddings, but all parts of this model share one.`,
    );
  }
  // A tied head that was not trained separately is the embedding table.
  const isTable = tensor.canonical === HEAD_NAME && !saved && !hasTable && isTied(model);
  const replaced = model.parameters.get(isTable ? SHARED_NAME : tensor.canonical);
  if (!replaced) throw new Florence2Error(`${file.path} contains ${tensor.name}, which this model does not have.`);
  requireShape(file, tensor, tensor.transposed ? replaced.shape.toReversed() : replaced.shape);
  const own = new Parameter(replaced.name, replaced.shape, replaced.layout);
  const values = await file.readFloat32(tensor.name);
  model.compute(() => (tensor.transposed ? own.replace(tf.tensor(values, tensor.shape)) : own.load(values)));

  const before = lora.own.get(own.name);
  const table = own.name === HEAD_NAME && isTied(model) ? lora.own.get(SHARED_NAME) : undefined;
  const same = await equal(own.value, (before ?? table)?.value ?? replaced.original);
  if (!same && !before) {
    lora.own.set(own.name, own);
    return;
  }
  own.dispose();
  if (!same) {
    throw new Florence2Error(`${file.path}: ${tensor.name} differs from another tensor for ${own.name}.`);
  }
}

const isTied = ({ lmHead, languageModel }: Florence2Model): boolean =>
  lmHead.weight.original === languageModel.shared.weight.original;

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
