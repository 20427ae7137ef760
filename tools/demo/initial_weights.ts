import { normalStream } from '../../src/random.ts';
import { LOCATION_BINS } from '../../src/text/locations.ts';
import { elementCount } from '../../src/weights/tensor_file.ts';
import { sinusoids } from '../random_weights.ts';

/**
 * Initial weights for training: matrices and filters are normal with variance 1 / fan-in, norms 1 and 0, biases 0. The
 * embeddings of neighbouring locations are similar, so that a location that is almost right has a smaller loss.
 */
export class InitialWeights {
  constructor(
    private readonly seed: number,
    /** Id of `<loc_0>`. */
    private readonly firstLocation: number,
  ) {}

  /** Returns the values of a tensor, row-major in its canonical shape. They depend only on name, shape and seed. */
  tensor(name: string, shape: readonly number[]): Float32Array {
    if (name.endsWith('pos_idx_to_embed')) return sinusoids(shape);
    if (/norm\w*\.weight$/.test(name)) return new Float32Array(elementCount(shape)).fill(1);
    const values = new Float32Array(elementCount(shape));
    if (shape.length === 1 || name === 'final_logits_bias') return values;
    if (name.includes('image_position_embed')) {
      waves(values, shape[1], { from: 0.75, to: 12, deviation: 1 }); // as strong as the map they are added to
      return values;
    }
    const normal = normalStream(this.seed, name);
    const deviation = deviationOf(name, shape);
    for (let i = 0; i < values.length; i++) values[i] = deviation * normal();
    if (name === 'language_model.shared.weight') {
      const locations = values.subarray(this.firstLocation * shape[1], (this.firstLocation + LOCATION_BINS) * shape[1]);
      waves(locations, shape[1], { from: 0.25, to: 64, deviation });
    }
    // Channel attention sums over positions, so full-size queries and keys would saturate its softmax from the start.
    if (name.endsWith('channel_attn.qkv.weight')) {
      for (let i = 0; i < (2 / 3) * values.length; i++) values[i] *= 0.3;
    }
    return values;
  }
}

interface Waves {
  /** Number of periods over the whole table: `from` in the first channels, `to` in the last. */
  from: number;
  to: number;
  deviation: number;
}

/** Fills a table with sines and cosines over its rows, of increasing frequency by channel. */
function waves(table: Float32Array, width: number, { from, to, deviation }: Waves): void {
  const [rows, pairs] = [table.length / width, width / 2];
  for (let row = 0; row < rows; row++) {
    for (let pair = 0; pair < pairs; pair++) {
      const count = from * (to / from) ** (pair / (pairs - 1));
      const angle = (2 * Math.PI * count * (row + 0.5)) / rows;
      table[row * width + 2 * pair] = deviation * Math.SQRT2 * Math.sin(angle);
      table[row * width + 2 * pair + 1] = deviation * Math.SQRT2 * Math.cos(angle);
    }
  }
}

function deviationOf(name: string, shape: readonly number[]): number {
  if (/embed|shared/.test(name)) return 1 / Math.sqrt(shape[1]);
  return gainOf(name) / Math.sqrt(elementCount(shape.slice(1)));
}

/**
 * Residual branches start small: depthwise filters, and the last matrix of each branch of the language model, where the
 * post-norms would shrink the gradient after many large branches. Cross-attention starts larger than these, because
 * otherwise the decoder is slow to learn to read the image.
 */
function gainOf(name: string): number {
  if (/\.conv[12]\.weight$/.test(name)) return 0.3;
  if (/^language_model.*encoder_attn\.out_proj\.weight$/.test(name)) return 0.3;
  return /^language_model.*(out_proj|fc2)\.weight$/.test(name) ? 0.1 : 1;
}
