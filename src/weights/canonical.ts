import { Florence2Error } from '../errors.ts';
import type { FilePlace } from '../nn/kernels.ts';
import type { Parameter } from '../nn/params.ts';
import { DTYPE_BYTES } from './dtypes.ts';
import { canonicalName, DECODER_TABLE_NAME, HEAD_NAME, SHARED_NAME } from './names.ts';
import { refuseQuantised } from './quantised.ts';
import { elementCount, requireTensor, type TensorFile, type TensorInfo } from './tensor_file.ts';

/** A checkpoint whose tensors have canonical names and shapes, whatever the layout of its files. */
export class CanonicalCheckpoint {
  constructor(
    readonly file: TensorFile,
    readonly tensors: ReadonlyMap<string, CanonicalTensor>,
    /** Tensors of the file that are left out, each with the reason. */
    readonly dropped: ReadonlyMap<string, string>,
  ) {}

  /** Whether the output layer shares the token embeddings; `tensors` then has no `lm_head.weight`. */
  get tiedHead(): boolean {
    return !this.tensors.has(HEAD_NAME);
  }

  /** Reads a tensor as fp32, row-major in its canonical shape. `into` as in `TensorFile`. */
  async readFloat32(name: string, into?: Float32Array): Promise<Float32Array> {
    const { fileName, shape, transposed } = requireTensor(this.tensors, name, this.file.path);
    if (!transposed) return this.file.readFloat32(fileName, into);
    const [out, inner] = shape;
    const stored = await this.file.readFloat32(fileName); // [in, out]
    const values = into ? into.subarray(0, stored.length) : new Float32Array(stored.length);
    for (let o = 0; o < out; o++) for (let i = 0; i < inner; i++) values[o * inner + i] = stored[i * out + o];
    return values;
  }

  /**
   * Returns where a file has a tensor's values, contiguous, in its canonical shape, in fp32 or fp16; null if no file
   * has them in this form.
   */
  placeOf(name: string): FilePlace | null {
    const { fileName, dtype, transposed } = requireTensor(this.tensors, name, this.file.path);
    if (transposed || (dtype !== 'F16' && dtype !== 'F32')) return null;
    const { source, position } = this.file.locate(fileName) ?? {};
    return source?.isFile ? { file: source.path, position: position!, dtype } : null;
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

/** A tensor under its canonical name and in its canonical shape. */
export interface CanonicalTensor extends TensorInfo {
  /** Its name in the file. */
  readonly fileName: string;
  /** Whether the file has it as [in, out] instead of [out, in]. */
  readonly transposed: boolean;
}

/**
 * Maps a checkpoint's tensors to their canonical names. A file may contain the token embeddings several times, under
 * the names of the modules that share them. Equal copies are dropped; if the shared table itself is missing, a copy
 * takes its place. A table of the decoder or an `lm_head` that differs from the shared table is kept.
 *
 * @throws Florence2Error for a tensor that Florence-2 does not have, for two tensors with one canonical name, and if
 *   the embeddings of the encoder, which are not used, differ from the shared ones
 */
export async function canonicalCheckpoint(file: TensorFile): Promise<CanonicalCheckpoint> {
  refuseQuantised(file);
  const tensors = new Map<string, CanonicalTensor>();
  const copies: CanonicalTensor[] = [];
  for (const { name: fileName, dtype, shape } of file.tensors.values()) {
    const found = canonicalName(fileName);
    if (!found) throw new Florence2Error(`${file.path}: tensor ${fileName} is not part of a Florence-2 model.`);
    if (found.dropped !== undefined) {
      copies.push({ name: found.copyOf, fileName, dtype, shape, transposed: false });
      continue;
    }
    const { name, transposed } = found;
    const before = tensors.get(name);
    if (before) throw new Florence2Error(`${file.path}: ${before.fileName} and ${fileName} are both ${name}.`);
    tensors.set(name, { name, fileName, dtype, shape: transposed ? shape.toReversed() : shape, transposed });
  }
  const tied = [DECODER_TABLE_NAME, HEAD_NAME].flatMap(name => tensors.get(name) ?? []);
  const shared = tensors.get(SHARED_NAME) ?? copies[0] ?? tied[0];
  if (shared) tensors.set(SHARED_NAME, { ...shared, name: SHARED_NAME });
  const dropped = new Map<string, string>();
  for (const copy of copies) {
    if (!(await equalTensors(file, copy.fileName, shared!.fileName))) {
      throw new Florence2Error(
        `${file.path}: ${copy.fileName} and ${shared!.fileName} differ, but Florence-2 looks its prompts up in one table.`,
      );
    }
    if (copy !== shared) dropped.set(copy.fileName, `equal to ${shared!.fileName}`);
  }
  for (const table of tied) {
    if (!(await equalTensors(file, table.fileName, shared!.fileName))) continue;
    tensors.delete(table.name);
    if (table === shared) continue;
    const why = table.name === HEAD_NAME ? ': the head is tied' : '';
    dropped.set(table.fileName, `equal to ${shared!.fileName}${why}`);
  }
  return new CanonicalCheckpoint(file, tensors, dropped);
}

/** Compares two tensors chunk by chunk, because the largest tensors should not be in memory twice. */
async function equalTensors(file: TensorFile, a: string, b: string): Promise<boolean> {
  const [infoA, infoB] = [file.tensors.get(a)!, file.tensors.get(b)!];
  if (infoA.shape.join() !== infoB.shape.join()) return false;
  const [atA, atB] = [file.locate(a), file.locate(b)];
  if (infoA.dtype !== infoB.dtype || !atA || !atB) {
    const [valuesA, valuesB] = [await file.readFloat32(a), await file.readFloat32(b)];
    return valuesA.every((value, i) => Object.is(value, valuesB[i]));
  }
  if (atA.source === atB.source && atA.position === atB.position) return true;
  const bytes = elementCount(infoA.shape) * DTYPE_BYTES[infoA.dtype];
  const chunks = [new Uint8Array(Math.min(bytes, 1 << 20)), new Uint8Array(Math.min(bytes, 1 << 20))];
  for (let done = 0; done < bytes; ) {
    const [chunkA, chunkB] = chunks.map(chunk => chunk.subarray(0, bytes - done));
    await atA.source.read(chunkA, atA.position + done, `tensor ${a}`);
    await atB.source.read(chunkB, atB.position + done, `tensor ${b}`);
    if (chunkA.some((byte, i) => byte !== chunkB[i])) return false;
    done += chunkA.length;
  }
  return true;
}

/** Returns the values of a parameter, with elements in the order that checkpoints use. */
export async function checkpointValues(parameter: Parameter): Promise<Float32Array> {
  const ordered = parameter.inCheckpointOrder(parameter.value);
  try {
    return (await ordered.data()) as Float32Array;
  } finally {
    ordered.dispose();
  }
}
