import { normalStream } from '../../src/random.ts';
import { LOCATION_BINS } from '../../src/text/locations.ts';
import { elementCount } from '../../src/weights/tensor_file.ts';
import { sinusoids } from '../random_weights.ts';

/**
 * Weights to start training from: matrices and filters normal with variance 1 / fan-in, norms at 1 and 0, biases 0.
 * Embeddings of neighbouring places are near each other, so that an answer that is almost right is almost rewarded.
 */
export class InitialWeights {
  constructor(
    private readonly seed: number,
    /** Id of `<loc_0>`. */
    private readonly firstLocation: number,
  ) {}

  /** Values of a tensor, row-major in its canonical shape. They depend on name, shape and seed alone. */
  tensor(name: string, shape: readonly number[]): Float32Array {
    if (name.endsWith('pos_idx_to_embed')) return sinusoids(shape);
    if (/norm\w*\.weight$/.test(name)) return new Float32Array(elementCount(shape)).fill(1);
    const values = new Float32Array(elementCount(shape));
    if (shape.length === 1 || name === 'final_logits_bias') return values;
    if (name.includes('image_position_embed')) {
      waves(values, shape[1], { from: 0.75, to: 12, deviation: 1 }); // no weaker than what is seen there
      return values;
    }
    const normal = normalStream(this.seed, name);
    const deviation = deviationOf(name, shape);
    for (let i = 0; i < values.length; i++) values[i] = deviation * normal();
    if (name === 'language_model.shared.weight') {
      const locations = values.subarray(this.firstLocation * shape[1], (this.firstLocation + LOCATION_BINS) * shape[1]);
      waves(locations, shape[1], { from: 0.25, to: 64, deviation });
    }
    // Channel attention sums over positions: with whole queries and keys it would be sure of itself from the start.
    if (name.endsWith('channel_attn.qkv.weight')) {
      for (let i = 0; i < (2 / 3) * values.length; i++) values[i] *= 0.3;
    }
    return values;
  }
}

interface Waves {
  /** Waves over the whole table, of the first channels and of the last. */
  from: number;
  to: number;
  deviation: number;
}

/** Fills the rows of a table with sines and cosines of ever shorter waves. */
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
 * What is added to its own input begins small: depthwise filters, and the end of each branch of the language model, whose
 * norms come after the sum and would pass little of a gradient through many large branches. What the decoder reads from
 * the image is given more room, or it would be slow to look.
 */
function gainOf(name: string): number {
  if (/\.conv[12]\.weight$/.test(name)) return 0.3;
  if (/^language_model.*encoder_attn\.out_proj\.weight$/.test(name)) return 0.3;
  return /^language_model.*(out_proj|fc2)\.weight$/.test(name) ? 0.1 : 1;
}
