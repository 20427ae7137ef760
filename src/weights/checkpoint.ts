import { Florence2Error } from '../errors.ts';
import { type ByteSource, type Folder, readText } from '../files/folder.ts';
import { duplicateKey, isRecord, parseJsonObject } from '../json.ts';
import { show } from '../show.ts';
import { readPytorchBin } from './pytorch_bin.ts';
import { readSafetensors } from './safetensors.ts';
import { requireTensor, type TensorFile, type TensorInfo } from './tensor_file.ts';

/** The files that may hold a checkpoint's weights; the first that exists is used. */
export const WEIGHT_FILES = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
];

/** The files that may hold an adapter's weights; the first that exists is used. */
export const ADAPTER_WEIGHT_FILES = ['adapter_model.safetensors', 'adapter_model.bin'];

/**
 * Opens the weights of a checkpoint: safetensors before PyTorch's own format, one file before shards.
 *
 * @throws Florence2Error if the folder has no weights, or they are damaged
 */
export async function openCheckpoint(folder: Folder): Promise<TensorFile> {
  for (const name of WEIGHT_FILES) {
    const file = await openTensors(folder, name);
    if (file) return file;
  }
  const looked = `has no weights (looked for ${WEIGHT_FILES.join(', ')})`;
  throw new Florence2Error(`${folder.path} ${(await folder.exists()) ? looked : 'is not a folder'}.`);
}

/**
 * Opens a file of tensors: `.bin` as torch.save writes it, `.index.json` with all the shards that it lists, anything
 * else as safetensors. Returns undefined if it does not exist.
 */
export async function openTensors(folder: Folder, name: string): Promise<TensorFile | undefined> {
  const read = /\.bin(\.index\.json)?$/.test(name) ? readPytorchBin : readSafetensors;
  if (name.endsWith('.index.json')) return openShards(folder, name, read);
  const source = await folder.open(name);
  return source && read(source);
}

type Reader = (source: ByteSource) => Promise<TensorFile>;

/** Opens all shards that an index (`{ weight_map: { tensor: shard } }`) names, as one file of tensors. */
async function openShards(folder: Folder, index: string, read: Reader): Promise<TensorFile | undefined> {
  const weightMap = await readIndex(folder, index);
  if (!weightMap) return undefined;
  const path = folder.pathOf(index);
  const shards = new Map<string, TensorFile>();
  try {
    for (const shard of new Set(weightMap.values())) {
      const source = await folder.open(shard);
      if (!source) throw new Florence2Error(`${path}: the shard ${shard} does not exist.`);
      shards.set(shard, await read(source));
    }
    checkShards(path, weightMap, shards);
    return new ShardedFile(path, new Map([...weightMap].map(([name, shard]) => [name, shards.get(shard)!])));
  } catch (error) {
    await Promise.all([...shards.values()].map(file => file.close()));
    throw error;
  }
}

/** Returns the shards that an index names; undefined if it does not exist. @throws Florence2Error if it is damaged */
export async function shardNames(folder: Folder, index: string): Promise<string[] | undefined> {
  const weightMap = await readIndex(folder, index);
  return weightMap && [...new Set(weightMap.values())];
}

async function readIndex(folder: Folder, name: string): Promise<Map<string, string> | undefined> {
  const text = await readText(folder, name);
  if (text === undefined) return undefined;
  const path = folder.pathOf(name);
  const { weight_map: weightMap } = parseJsonObject(text, path);
  if (!isRecord(weightMap) || Object.keys(weightMap).length === 0) {
    throw new Florence2Error(`${path}: weight_map is ${show(weightMap)}, expected the file of each tensor.`);
  }
  const twice = duplicateKey(text);
  if (twice) throw new Florence2Error(`${path} has ${twice.join(': ')} twice.`);
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string' || !/^[^/\\:]+$/.test(shard) || shard.startsWith('..')) {
      throw new Florence2Error(`${path}: ${name} is in ${show(shard)}, expected a file in the same folder.`);
    }
  }
  return new Map(Object.entries(weightMap as Record<string, string>));
}

/** @throws Florence2Error unless the index and the shards agree on where each tensor is */
function checkShards(indexPath: string, weightMap: Map<string, string>, shards: Map<string, TensorFile>): void {
  for (const [name, shard] of weightMap) {
    if (!shards.get(shard)!.tensors.has(name)) {
      const other = [...shards.keys()].find(key => shards.get(key)!.tensors.has(name));
      const where = other ? `is in ${other}` : 'is in no shard';
      throw new Florence2Error(`${indexPath}: ${name} should be in ${shard} but ${where}.`);
    }
  }
  for (const [shard, file] of shards) {
    for (const name of file.tensors.keys()) {
      if (weightMap.get(name) === shard) continue;
      const index = weightMap.has(name) ? `has it in ${weightMap.get(name)}` : 'does not have it';
      throw new Florence2Error(`${indexPath}: ${shard} holds ${name}, but the index ${index}.`);
    }
  }
}

class ShardedFile implements TensorFile {
  readonly tensors: ReadonlyMap<string, TensorInfo>;

  constructor(
    readonly path: string,
    private readonly fileOf: ReadonlyMap<string, TensorFile>,
  ) {
    this.tensors = new Map([...fileOf].map(([name, file]) => [name, file.tensors.get(name)!]));
  }

  async readFloat32(name: string, into?: Float32Array): Promise<Float32Array> {
    return this.file(name).readFloat32(name, into);
  }

  async readInt32(name: string): Promise<Int32Array> {
    return this.file(name).readInt32(name);
  }

  locate(name: string): { source: ByteSource; position: number } | undefined {
    return this.file(name).locate(name);
  }

  async close(): Promise<void> {
    await Promise.all([...new Set(this.fileOf.values())].map(file => file.close()));
  }

  private file(name: string): TensorFile {
    requireTensor(this.tensors, name, this.path);
    return this.fileOf.get(name)!;
  }
}
