import * as tf from '@tensorflow/tfjs';
import { onBackendOf } from '../nn/on_backend.ts';
import { asBytes, narrowFromFloat32 } from '../weights/dtypes.ts';

/** A node of an ONNX graph, with the field names of onnx.proto. */
export interface OnnxNode {
  opType: string;
  input: string[];
  output: string[];
  attribute: OnnxAttribute[];
}

export type OnnxAttribute = { name: string; type: number } & (
  | { i: number }
  | { f: number }
  | { ints: number[] }
  | { g: object }
);

/**
 * Type of the weights: fp32; fp16, which are converted to fp32 when the model is loaded; or q8, with which matrix products
 * have 8-bit weights and inputs, and the rest is fp32.
 */
export type OnnxDtype = 'fp32' | 'fp16' | 'q8';

/** A weight in a file: the values of a tensor with its axes in another order, or the scales of its 8-bit columns. */
export interface StoredWeight {
  readonly tensor: tf.Tensor;
  readonly order: readonly number[] | null;
  readonly format: 'float' | 'half' | 'uint8' | 'scales';
}

/** A constant of an ONNX graph: values that are part of the graph, or a weight. */
export type Initializer = { name: string; dims: readonly number[] } & (
  | { values: Float32Array | BigInt64Array | Uint8Array }
  | { weight: StoredWeight }
);

/** Codes of the formats in onnx.proto, and their bytes. */
export const FORMATS = {
  float: { type: 1, bytes: 4 },
  half: { type: 10, bytes: 2 },
  uint8: { type: 2, bytes: 1 },
  scales: { type: 1, bytes: 4 },
} as const;

/** The zero of 8-bit weights. They are unsigned, because signed ones overflow on processors without VNNI. */
export const ZERO = 128;

/** The constants of a graph and of the graphs in it, and the nodes that convert weights. */
export class OnnxWeights {
  readonly initializers = new Map<string, Initializer>();
  readonly nodes: OnnxNode[] = [];

  /**
   * @param names of the tensors
   * @param tooLarge tensors with values that fp16 does not have
   */
  constructor(
    private readonly names: ReadonlyMap<tf.Tensor, string>,
    readonly dtype: OnnxDtype,
    private readonly tooLarge: ReadonlySet<tf.Tensor>,
  ) {}

  /** All tensors that may be weights. */
  get tensors(): tf.Tensor[] {
    return [...this.names.keys()];
  }

  constant(dims: readonly number[], values: Float32Array | BigInt64Array | Uint8Array): string {
    const name = `${values.constructor.name}[${dims}] ${Array.from<number | bigint>(values).join()}`;
    this.initializers.set(name, { name, dims, values });
    return name;
  }

  /** Returns the name of a tensor in fp32 with its axes in another order. Vectors are always stored in fp32. */
  float(tensor: tf.Tensor, order: readonly number[] | null = null): string {
    if (this.dtype !== 'fp16' || tensor.rank < 2 || this.tooLarge.has(tensor))
      return this.store(tensor, order, 'float');
    const half = this.store(tensor, order, 'half');
    const name = `${half}/fp32`;
    if (!this.nodes.some(({ output }) => output[0] === name)) {
      this.nodes.push({ opType: 'Cast', input: [half], output: [name], attribute: [{ name: 'to', type: 2, i: 1 }] });
    }
    return name;
  }

  /** Returns the names of a matrix [in, out] in 8 bits and of the scales of its columns. */
  quantised(tensor: tf.Tensor, order: readonly number[] | null): [matrix: string, scales: string] {
    return [this.store(tensor, order, 'uint8'), this.store(tensor, order, 'scales')];
  }

  private store(tensor: tf.Tensor, order: readonly number[] | null, format: StoredWeight['format']): string {
    const name = [this.names.get(tensor)!, order, format === 'float' ? null : format].filter(part => part).join(' ');
    const whole = order ? order.map(axis => tensor.shape[axis]) : tensor.shape;
    const dims = format === 'scales' ? whole.slice(1) : whole;
    this.initializers.set(name, { name, dims, weight: { tensor, order, format } });
    return name;
  }
}

/** Returns the tensors with values above the largest number of fp16. */
export async function beyondHalf(tensors: readonly tf.Tensor[]): Promise<Set<tf.Tensor>> {
  const found = new Set<tf.Tensor>();
  for (const tensor of tensors) if ((await largest(tensor)).some(value => value > 65504)) found.add(tensor);
  return found;
}

/** Returns the largest magnitude along an axis, or of all values. */
async function largest(tensor: tf.Tensor, axis?: number): Promise<Float32Array> {
  const most = onBackendOf(tensor, () => tf.tidy(() => tf.max(tf.abs(tensor), axis)));
  return (await most.data().finally(() => most.dispose())) as Float32Array;
}

/** Largest part of a tensor that is copied at a time, in bytes: a table of embeddings of base has 157 MB. */
const MOST_BYTES = 16 << 20;

/** Yields a weight as it is stored, in parts along its first axis. */
export async function* storedParts({ tensor, order, format }: StoredWeight): AsyncGenerator<Uint8Array> {
  const axis = order?.[0] ?? 0;
  const isQuantised = format === 'uint8' || format === 'scales';
  const scales = isQuantised ? (await largest(tensor, axis)).map(most => most / 127 || 1) : new Float32Array();
  if (format === 'scales') return void (yield asBytes(scales));
  const rows = tensor.shape[axis];
  const rowBytes = (4 * tensor.size) / rows;
  const count = Math.max(1, Math.floor(MOST_BYTES / rowBytes));
  for (let from = 0; from < rows; from += count) {
    const begin = tensor.shape.map((_, other) => (other === axis ? from : 0));
    const size = tensor.shape.map((whole, other) => (other === axis ? Math.min(count, rows - from) : whole));
    const part = onBackendOf(tensor, () =>
      tf.tidy(() => {
        const rows = tf.slice(tensor, begin, size);
        return order ? tf.transpose(rows, [...order]) : rows;
      }),
    );
    const values = (await part.data().finally(() => part.dispose())) as Float32Array;
    if (format === 'uint8') yield quantise(values, scales);
    else yield format === 'half' ? narrowFromFloat32(values, 'F16') : asBytes(values);
  }
}

function quantise(values: Float32Array, scales: Float32Array): Uint8Array {
  const quantised = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) quantised[i] = Math.round(values[i] / scales[i % scales.length]) + ZERO;
  return quantised;
}
