import type { CrossAttention, PackedRows } from '../report.ts';

/** The attention shown: one head, the mean over a layer's heads (`head` null), or the mean over all (both null). */
export interface HeadChoice {
  layer: number | null;
  head: number | null;
}

/** The shares of one row of attention, which sum to 1. */
export interface Shares {
  image: number;
  mean: number;
  prompt: number;
}

/** The unpacked cross-attention of a report. */
export class Weights {
  private readonly cached = new Map<string, Float32Array>();

  private constructor(
    private readonly attention: CrossAttention,
    private readonly bytes: Uint8Array,
    private readonly peaks: Float32Array,
  ) {}

  static async unpack(attention: CrossAttention): Promise<Weights> {
    const { bytes, peaks }: PackedRows = attention.weights;
    const [rows, tops] = await Promise.all([gunzip(bytes), gunzip(peaks)]);
    const view = new DataView(tops.buffer);
    const heights = Float32Array.from({ length: tops.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
    return new Weights(attention, rows, heights);
  }

  /** Returns a token's attention over the encoder's positions: the mean token, the image's cells, the prompt. [S] */
  row(token: number, { layer, head }: HeadChoice): Float32Array {
    const key = `${token} ${layer} ${head}`;
    const known = this.cached.get(key);
    if (known) return known;
    const computed = this.compute(token, { layer, head });
    this.cached.set(key, computed);
    return computed;
  }

  /** Returns the image's part of a row. [rows · columns] */
  cells(token: number, choice: HeadChoice): Float32Array {
    const { rows, columns } = this.attention;
    return this.row(token, choice).subarray(1, 1 + rows * columns);
  }

  shares(token: number, choice: HeadChoice): Shares {
    const row = this.row(token, choice);
    const total = sum(row) || 1;
    const image = sum(this.cells(token, choice));
    return { image: image / total, mean: row[0] / total, prompt: (total - image - row[0]) / total };
  }

  private compute(token: number, { layer, head }: HeadChoice): Float32Array {
    const { layers, heads } = this.attention;
    if (layer !== null && head !== null) return this.unpackRow((token * layers + layer) * heads + head);
    const parts =
      layer === null
        ? Array.from({ length: layers }, (_, i) => this.row(token, { layer: i, head: null }))
        : Array.from({ length: heads }, (_, i) => this.unpackRow((token * layers + layer) * heads + i));
    const mean = new Float32Array(parts[0].length);
    for (const part of parts) for (let i = 0; i < mean.length; i++) mean[i] += part[i] / parts.length;
    return mean;
  }

  private unpackRow(index: number): Float32Array {
    const width = this.attention.weights.shape[3];
    const bytes = this.bytes.subarray(index * width, (index + 1) * width);
    const row = new Float32Array(width);
    for (let i = 0; i < width; i++) row[i] = this.peaks[index] * (bytes[i] / 255) ** 2;
    return row;
  }
}

export const sum = (values: Float32Array): number => values.reduce((total, value) => total + value, 0);

async function gunzip(base64: string): Promise<Uint8Array> {
  const packed = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
