import { Florence2Error } from '../errors.ts';
import { asBytes, dtypeBytes, isFloat, toInt32, widenToFloat32 } from './dtypes.ts';
import { type ByteSource, elementCount, type TensorInfo } from './tensor_file.ts';

/** Narrow dtypes are read through a buffer of this size, so that only the fp32 result is large. */
const pieceBytes = 1 << 20;

/** Contiguous elements at `position` as fp32: straight into the result for F32, else piece by piece. */
export async function readFloat32At(
  source: ByteSource,
  position: number,
  info: TensorInfo,
  into?: Float32Array,
): Promise<Float32Array> {
  const count = elementCount(info.shape);
  if (into && into.length < count) throw new RangeError(`${info.name}: ${count} values into ${into.length}.`);
  const out = into ? into.subarray(0, count) : new Float32Array(count);
  const what = `tensor ${info.name}`;
  if (info.dtype === 'F32') {
    await source.read(asBytes(out), position, what);
    return out;
  }
  const size = dtypeBytes[info.dtype];
  const piece = new Uint8Array(Math.min(count * size, pieceBytes));
  for (let done = 0; done < count; ) {
    const n = Math.min(count - done, pieceBytes / size);
    const bytes = piece.subarray(0, n * size);
    await source.read(bytes, position + done * size, what);
    widenToFloat32(bytes, info.dtype, out.subarray(done, done + n));
    done += n;
  }
  return out;
}

/** Contiguous integers at `position` as int32. */
export async function readInt32At(source: ByteSource, position: number, info: TensorInfo): Promise<Int32Array> {
  if (isFloat(info.dtype)) {
    throw new Florence2Error(`${source.path}: tensor ${info.name} is ${info.dtype}, integers are needed.`);
  }
  const out = new Int32Array(elementCount(info.shape));
  const bytes = new Uint8Array(out.length * dtypeBytes[info.dtype]);
  await source.read(bytes, position, `tensor ${info.name}`);
  const misfit = toInt32(bytes, info.dtype, out);
  if (misfit >= 0) {
    throw new Florence2Error(`${source.path}: tensor ${info.name} element ${misfit} does not fit 32 bits.`);
  }
  return out;
}
