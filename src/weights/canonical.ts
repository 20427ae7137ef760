import { Florence2Error } from '../errors.ts';
import type { FilePlace } from '../nn/kernels.ts';
import type { Parameter } from '../nn/params.ts';
import { dtypeBytes } from './dtypes.ts';
import { canonicalName, headName, sharedName } from './names.ts';
import { elementCount, requireTensor, type TensorFile, type TensorInfo } from './tensor_file.ts';

/** The tensors of a checkpoint under their canonical names and in their canonical shapes. */
export class CanonicalCheckpoint {
  constructor(
    readonly file: TensorFile,
    readonly tensors: ReadonlyMap<string, CanonicalTensor>,
    /** Tensors of the file that are left out, and why. */
    readonly dropped: ReadonlyMap<string, string>,
  ) {}

  /** True when the output layer is the table of token embeddings: `lm_head.weight` is then not among the tensors. */
  get tiedHead(): boolean {
    return !this.tensors.has(headName);
  }

  /** A tensor's values in fp32, row-major in its canonical shape. */
  async readFloat32(name: string, into?: Float32Array): Promise<Float32Array> {
    const { fileName, shape, transposed } = requireTensor(this.tensors, name, this.file.path);
    if (!transposed) return this.file.readFloat32(fileName, into);
    const [out, inner] = shape;
    const stored = await this.file.readFloat32(fileName); // [in, out]
    const values = into ? into.subarray(0, stored.length) : new Float32Array(stored.length);
    for (let o = 0; o < out; o++) for (let i = 0; i < inner; i++) values[o * inner + i] = stored[i * out + o];
    return values;
  }

  /** Where a tensor's values lie in a row in a file, as floats or halves in its canonical shape; null where they do not. */
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

export interface CanonicalTensor extends TensorInfo {
  readonly fileName: string;
  readonly transposed: boolean;
}

/**
 * Names a checkpoint's tensors canonically, whatever its layout. The table of token embeddings may be in a file several
 * times, under the names of the modules that share it: equal copies are dropped, and when the table itself is absent one
 * of them takes its place. A `lm_head` that differs is a head of its own and is kept.
 *
 * @throws Florence2Error for a tensor that belongs to no Florence-2, for two tensors of one canonical name, and when
 *   encoder or decoder have embeddings that differ from the shared ones
 */
export async function canonicalCheckpoint(file: TensorFile): Promise<CanonicalCheckpoint> {
  const tensors = new Map<string, CanonicalTensor>();
  const copies: CanonicalTensor[] = [];
  for (const { name: fileName, dtype, shape } of file.tensors.values()) {
    const found = canonicalName(fileName);
    if (!found) throw new Florence2Error(`${file.path}: tensor ${fileName} belongs to no Florence-2.`);
    if (found.dropped !== undefined) {
      copies.push({ name: found.copyOf, fileName, dtype, shape, transposed: false });
      continue;
    }
    const { name, transposed } = found;
    const before = tensors.get(name);
    if (before) throw new Florence2Error(`${file.path}: ${before.fileName} and ${fileName} are both ${name}.`);
    tensors.set(name, { name, fileName, dtype, shape: transposed ? shape.toReversed() : shape, transposed });
  }
  const head = tensors.get(headName);
  const shared = tensors.get(sharedName) ?? copies[0] ?? head;
  if (shared) tensors.set(sharedName, { ...shared, name: sharedName });
  const dropped = new Map<string, string>();
  for (const copy of copies) {
    if (!(await equalTensors(file, copy.fileName, shared!.fileName))) {
      throw new Florence2Error(
        `${file.path}: ${copy.fileName} and ${shared!.fileName} differ, but Florence-2 has one table of embeddings.`,
      );
    }
    if (copy !== shared) dropped.set(copy.fileName, `equal to ${shared!.fileName}`);
  }
  if (head && (await equalTensors(file, head.fileName, shared!.fileName))) {
    tensors.delete(headName);
    if (head !== shared) dropped.set(head.fileName, `equal to ${shared!.fileName}: the head is tied`);
  }
  return new CanonicalCheckpoint(file, tensors, dropped);
}

/** Compares bytes piece by piece, so that the largest tensors of a checkpoint need not be in memory for it. */
async function equalTensors(file: TensorFile, a: string, b: string): Promise<boolean> {
  const [infoA, infoB] = [file.tensors.get(a)!, file.tensors.get(b)!];
  if (infoA.shape.join() !== infoB.shape.join()) return false;
  const [atA, atB] = [file.locate(a), file.locate(b)];
  if (infoA.dtype !== infoB.dtype || !atA || !atB) {
    const [valuesA, valuesB] = [await file.readFloat32(a), await file.readFloat32(b)];
    return valuesA.every((value, i) => Object.is(value, valuesB[i]));
  }
  if (atA.source === atB.source && atA.position === atB.position) return true;
  const bytes = elementCount(infoA.shape) * dtypeBytes[infoA.dtype];
  const pieces = [new Uint8Array(Math.min(bytes, 1 << 20)), new Uint8Array(Math.min(bytes, 1 << 20))];
  for (let done = 0; done < bytes; ) {
    const [pieceA, pieceB] = pieces.map(piece => piece.subarray(0, bytes - done));
    await atA.source.read(pieceA, atA.position + done, `tensor ${a}`);
    await atB.source.read(pieceB, atB.position + done, `tensor ${b}`);
    if (pieceA.some((byte, i) => byte !== pieceB[i])) return false;
    done += pieceA.length;
  }
  return true;
}

/** The values of a parameter in the checkpoint's order. */
export async function checkpointValues(parameter: Parameter): Promise<Float32Array> {
  const ordered = parameter.inCheckpointOrder(parameter.value);
  try {
    return (await ordered.data()) as Float32Array;
  } finally {
    ordered.dispose();
  }
}
