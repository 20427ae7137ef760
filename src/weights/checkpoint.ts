import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Florence2Error } from '../errors.ts';
import type { ByteSource } from '../files/byte_source.ts';
import { fileError } from '../files/errors.ts';
import { duplicateKey, isRecord, parseJsonObject, show } from '../json.ts';
import { openPytorchBin } from './pytorch_bin.ts';
import { openSafetensors } from './safetensors.ts';
import { requireTensor, type TensorFile, type TensorInfo } from './tensor_file.ts';

/** What a checkpoint's weights may be called, best first. */
const weightFiles: [name: string, open: (path: string) => Promise<TensorFile>][] = [
  ['model.safetensors', openSafetensors],
  ['model.safetensors.index.json', path => openShards(path, openSafetensors)],
  ['pytorch_model.bin', openPytorchBin],
  ['pytorch_model.bin.index.json', path => openShards(path, openPytorchBin)],
];

/**
 * Opens the weights in the folder of a checkpoint: safetensors before PyTorch's own format, one file before shards.
 *
 * @throws Florence2Error when there are none, or they are damaged
 */
export async function openCheckpoint(folder: string): Promise<TensorFile> {
  for (const [name, open] of weightFiles) {
    const path = join(folder, name);
    if (await stat(path).catch(() => undefined)) return open(path);
  }
  const isFolder = (await stat(folder).catch(() => undefined))?.isDirectory();
  const names = weightFiles.map(([name]) => name).join(', ');
  throw new Florence2Error(isFolder ? `${folder} has no weights (looked for ${names}).` : `${folder} is not a folder.`);
}

/** Opens every file that an index (`{ weight_map: { tensor: file } }`) names, as one. */
async function openShards(indexPath: string, open: (path: string) => Promise<TensorFile>): Promise<TensorFile> {
  const weightMap = await readIndex(indexPath);
  const [missing] = await missingShards(indexPath);
  if (missing) throw new Florence2Error(`${indexPath}: the shard ${missing} does not exist.`);
  const shards = new Map<string, TensorFile>();
  try {
    for (const shard of new Set(weightMap.values())) shards.set(shard, await open(join(indexPath, '..', shard)));
    checkShards(indexPath, weightMap, shards);
    return new ShardedFile(indexPath, new Map([...weightMap].map(([name, shard]) => [name, shards.get(shard)!])));
  } catch (error) {
    await Promise.all([...shards.values()].map(file => file.close()));
    throw error;
  }
}

async function readIndex(path: string): Promise<Map<string, string>> {
  const text = await readFile(path, 'utf8').catch(error => {
    throw fileError(path, error);
  });
  const { weight_map: weightMap } = parseJsonObject(text, path);
  if (!isRecord(weightMap) || Object.keys(weightMap).length === 0) {
    throw new Florence2Error(`${path}: weight_map is ${show(weightMap)}, expected the file of each tensor.`);
  }
  const twice = duplicateKey(text);
  if (twice) throw new Florence2Error(`${path} has ${twice.join(': ')} twice.`);
  for (const [name, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string' || !/^[^/\\:]+$/.test(shard) || shard.startsWith('..')) {
      throw new Florence2Error(`${path}: ${name} is in ${show(shard)}, expected a file of the same folder.`);
    }
  }
  return new Map(Object.entries(weightMap as Record<string, string>));
}

/** The files that an index names and that its folder does not have. Throws when the index itself is damaged. */
export async function missingShards(indexPath: string): Promise<string[]> {
  const shards = new Set((await readIndex(indexPath)).values());
  const there = await Promise.all([...shards].map(shard => stat(join(indexPath, '..', shard)).catch(() => undefined)));
  return [...shards].filter((_, i) => !there[i]);
}

/** The index and the shards must name the same tensors in the same places. */
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
