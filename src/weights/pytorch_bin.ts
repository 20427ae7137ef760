import { Florence2Error } from '../errors.ts';
import type { ByteSource } from '../files/folder.ts';
import { show } from '../show.ts';
import { DTYPE_BYTES, readFloat32At, readInt32At } from './dtypes.ts';
import { type PickleHost, type PickleValue, unpickle } from './pickle.ts';
import { type Dtype, elementCount, requireTensor, type TensorFile, type TensorInfo } from './tensor_file.ts';
import { type StoredEntry, storedEntries } from './zip.ts';

/** Names and shapes take a few kilobytes; no real pickle is larger than this. */
const LARGEST_PICKLE = 64 << 20;

/**
 * Reads the table of contents of a file that torch.save wrote: a zip archive with a pickle, which describes the
 * tensors, and the bytes of each storage. Only the pickle's calls that build tensors are run. Tensors are read on
 * request.
 *
 * @param source is closed together with the result, and if this throws
 * @throws Florence2Error naming what is refused or damaged
 */
export async function readPytorchBin(source: ByteSource): Promise<TensorFile> {
  try {
    await checkSignature(source);
    const archive = findArchive(await storedEntries(source), source.path);
    await checkByteOrder(source, archive.entries.get(`${archive.folder}byteorder`));
    return new PytorchFile(source, await readTensors(source, archive));
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function checkSignature(source: ByteSource): Promise<void> {
  const first = new Uint8Array(Math.min(4, source.size));
  await source.read(first, 0, 'the signature');
  const signature = String.fromCharCode(...first);
  if (signature === 'PK\x03\x04') return;
  const what =
    first[0] === 0x80
      ? 'was saved in the format of PyTorch before 1.6: load it in PyTorch and save it again, preferably as safetensors'
      : 'was not written by torch.save';
  throw new Florence2Error(`${source.path} ${what}.`);
}

interface Archive {
  readonly entries: Map<string, StoredEntry>;
  /** The folder that contains all entries, with its slash. */
  readonly folder: string;
}

function findArchive(entries: Map<string, StoredEntry>, path: string): Archive {
  const pickles = [...entries.keys()].filter(name => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1) throw new Florence2Error(`${path} is a zip archive, but torch.save did not write it.`);
  const folder = pickles[0].slice(0, -'data.pkl'.length);
  const script = [...entries.keys()].find(
    name => name === `${folder}constants.pkl` || name.startsWith(`${folder}code/`),
  );
  if (script) throw new Florence2Error(`${path} is a TorchScript program (it has ${script}), not a file of weights.`);
  return { entries, folder };
}

async function checkByteOrder(source: ByteSource, entry: StoredEntry | undefined): Promise<void> {
  if (!entry) return; // PyTorch before 2.1 does not write it
  const text = new Uint8Array(Math.min(entry.size, 16));
  await source.read(text, entry.position, 'byteorder');
  const order = new TextDecoder().decode(text);
  if (order !== 'little') {
    throw new Florence2Error(`${source.path} has the byte order ${JSON.stringify(order)}; only "little" is supported.`);
  }
}

interface Storage {
  readonly dtype: Dtype;
  readonly elements: number;
  readonly entry: StoredEntry;
}

/** A view of a storage. Offset and strides are in elements. */
class StridedTensor {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: number[],
    readonly strides: number[],
  ) {}

  /** Number of elements from the first to the last of the view. */
  get span(): number {
    if (elementCount(this.shape) === 0) return 0;
    return this.shape.reduce((n, size, i) => n + (size - 1) * this.strides[i], 1);
  }

  get contiguous(): boolean {
    let step = 1;
    return this.shape.every((_, back) => {
      const i = this.shape.length - 1 - back;
      const fits = this.shape[i] === 1 || this.strides[i] === step;
      step *= this.shape[i];
      return fits;
    });
  }

  get position(): number {
    return this.storage.entry.position + this.offset * DTYPE_BYTES[this.storage.dtype];
  }
}

async function readTensors(source: ByteSource, archive: Archive): Promise<Map<string, StridedTensor>> {
  const { path } = source;
  const { position, size } = archive.entries.get(`${archive.folder}data.pkl`)!;
  if (size > LARGEST_PICKLE)
    throw new Florence2Error(`${path}: its pickle of ${size} bytes is too large for a checkpoint.`);
  const bytes = new Uint8Array(size);
  await source.read(bytes, position, 'data.pkl');
  const root = unpickle(bytes, tensorHost(archive, path), path);
  if (!(root instanceof Map)) throw new Florence2Error(`${path}: its pickle is not a dictionary of tensors.`);
  const tensors = new Map<string, StridedTensor>();
  for (const [name, value] of root) {
    if (typeof name !== 'string' || !(value instanceof StridedTensor)) {
      const what = typeof name === 'string' ? name : show(name);
      throw new Florence2Error(`${path}: ${what} is not a tensor; only a plain state dict is supported.`);
    }
    tensors.set(name, value);
  }
  return tensors;
}

const STORAGE_TYPES: Record<string, Dtype> = {
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.DoubleStorage': 'F64',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.ShortStorage': 'I16',
  'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
};

/** A global that a pickle may use: a storage type, or one of the functions of `tensorHost`. */
class Global {
  constructor(readonly name: string) {}
}

/**
 * Returns a host with the globals of a state dict: storage types, the functions that build tensors, and OrderedDict.
 */
function tensorHost({ entries, folder }: Archive, path: string): PickleHost {
  const fail = (problem: string): never => {
    throw new Florence2Error(`${path}: ${problem}.`);
  };
  const functions: Record<string, (args: PickleValue[]) => PickleValue> = {
    'collections.OrderedDict': ([pairs]) => orderedDict(pairs ?? [], fail),
    'torch._utils._rebuild_tensor_v2': args => rebuildTensor(args, fail),
    'torch._utils._rebuild_parameter': ([tensor]) => tensor,
  };
  const globals = new Map(
    [...Object.keys(functions), ...Object.keys(STORAGE_TYPES)].map(name => [name, new Global(name)]),
  );
  return {
    global: name => globals.get(name),
    call: (global, args) => {
      const found = global instanceof Global ? functions[global.name] : undefined;
      if (!found) return fail('refused: the pickle calls something other than a function of a state dict');
      return found(args);
    },
    persistent: id => {
      const [kind, type, key, , elements] = Array.isArray(id) ? id : [];
      const dtype = type instanceof Global ? STORAGE_TYPES[type.name] : undefined;
      if (kind !== 'storage' || !dtype || typeof key !== 'string' || !isCount(elements))
        return fail('its pickle refers to something that is not a storage');
      const entry = entries.get(`${folder}data/${key}`) ?? fail(`the storage data/${key} is missing from the archive`);
      if (entry.size < elements * DTYPE_BYTES[dtype]) {
        fail(
          `the storage data/${key} has ${entry.size} bytes, ${elements} ${dtype} need ${elements * DTYPE_BYTES[dtype]}`,
        );
      }
      return { dtype, elements, entry } satisfies Storage;
    },
  };
}

function orderedDict(pairs: PickleValue, fail: (problem: string) => never): PickleValue {
  if (!Array.isArray(pairs) || !pairs.every(pair => Array.isArray(pair) && pair.length === 2)) {
    return fail('its pickle builds an OrderedDict from something other than pairs');
  }
  return new Map(pairs as [PickleValue, PickleValue][]);
}

function rebuildTensor(args: PickleValue[], fail: (problem: string) => never): StridedTensor {
  const [storage, offset, shape, strides] = args;
  if (
    !isStorage(storage) ||
    !isCount(offset) ||
    !isCounts(shape) ||
    !isCounts(strides) ||
    shape.length !== strides.length
  ) {
    return fail('its pickle describes a tensor in a form that torch.save does not write');
  }
  const tensor = new StridedTensor(storage, offset, shape, strides);
  if (!Number.isSafeInteger(elementCount(shape)) || offset + tensor.span > storage.elements) {
    const view = `${show(shape)} with strides ${show(strides)} at ${offset}`;
    return fail(`a tensor ${view} goes beyond its storage of ${storage.elements} elements`);
  }
  if (elementCount(shape) > Math.max(storage.elements, MOST_REPEATED)) {
    return fail(
      `a tensor ${show(shape)} repeats the ${storage.elements} elements of its storage, to more than the limit of ${MOST_REPEATED}`,
    );
  }
  return tensor;
}

/** Most elements of a tensor that repeats elements of its storage (stride 0). */
const MOST_REPEATED = 1 << 20;

const isStorage = (value: PickleValue): value is Storage =>
  typeof value === 'object' && value !== null && 'entry' in value && 'elements' in value;
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isCounts = (value: unknown): value is number[] => Array.isArray(value) && value.every(isCount);

class PytorchFile implements TensorFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;

  constructor(
    private readonly source: ByteSource,
    private readonly strided: ReadonlyMap<string, StridedTensor>,
  ) {
    this.path = source.path;
    this.tensors = new Map(
      [...strided].map(([name, { storage, shape }]) => [name, { name, dtype: storage.dtype, shape }]),
    );
  }

  async readFloat32(name: string, into?: Float32Array): Promise<Float32Array> {
    const info = requireTensor(this.tensors, name, this.path);
    const tensor = this.strided.get(name)!;
    if (tensor.contiguous) return readFloat32At(this.source, tensor.position, info, into);
    const span = await readFloat32At(this.source, tensor.position, { ...info, shape: [tensor.span] });
    const count = elementCount(info.shape);
    return gather(span, tensor, into?.subarray(0, count) ?? new Float32Array(count));
  }

  async readInt32(name: string): Promise<Int32Array> {
    const info = requireTensor(this.tensors, name, this.path);
    const tensor = this.strided.get(name)!;
    if (tensor.contiguous) return readInt32At(this.source, tensor.position, info);
    const span = await readInt32At(this.source, tensor.position, { ...info, shape: [tensor.span] });
    return gather(span, tensor, new Int32Array(elementCount(info.shape)));
  }

  locate(name: string): { source: ByteSource; position: number } | undefined {
    requireTensor(this.tensors, name, this.path);
    const tensor = this.strided.get(name)!;
    return tensor.contiguous ? { source: this.source, position: tensor.position } : undefined;
  }

  close(): Promise<void> {
    return this.source.close();
  }
}

/** Copies the elements of a strided view in row-major order. */
function gather<T extends Float32Array | Int32Array>(span: T, { shape, strides }: StridedTensor, out: T): T {
  const index = shape.map(() => 0);
  let from = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = span[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}
