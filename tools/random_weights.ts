import { randomIntegers } from '../src/random.ts';
import { elementCount } from '../src/weights/tensor_file.ts';

export interface RandomWeightsOptions {
  seed: number;
  decoderLayers: number;
  /** Added to the logit of `</s>`. */
  endBoost: number;
}

const endToken = 2;

/**
 * Random weights with activations of sensible size: matrices are scaled by their fan-in, norms are 1 and 0. The values
 * of a tensor depend only on its canonical name and the seed.
 */
export class RandomWeights {
  private readonly pool: Float32Array;
  private readonly lastNormBias: string;

  constructor(private readonly options: RandomWeightsOptions) {
    this.pool = normalPool(randomIntegers(options.seed, 'pool'));
    this.lastNormBias = `language_model.decoder.layers.${options.decoderLayers - 1}.final_layer_norm.bias`;
  }

  /** Returns the values of a tensor, row-major in its canonical shape. */
  tensor(name: string, shape: readonly number[]): Float32Array {
    if (name.endsWith('pos_idx_to_embed')) return sinusoids(shape);
    if (name === 'final_logits_bias') return new Float32Array(elementCount(shape));
    if (/norm\w*\.weight$/.test(name)) return new Float32Array(elementCount(shape)).fill(1);
    if (shape.length === 1) return this.normal(name, shape[0], name === this.lastNormBias ? 0.5 : 0.02);
    const values = this.normal(name, elementCount(shape), deviation(name, shape));
    if (name === 'language_model.shared.weight') this.raiseEnd(values, shape[1]);
    return values;
  }

  /** Moves the embedding of `</s>` towards the bias of the decoder's last norm, which is part of every output state. */
  private raiseEnd(embeddings: Float32Array, width: number): void {
    const bias = this.normal(this.lastNormBias, width, 0.5);
    const square = bias.reduce((sum, b) => sum + b * b, 0);
    for (let i = 0; i < width; i++) embeddings[endToken * width + i] += (this.options.endBoost * bias[i]) / square;
  }

  /** Draws from a pool of normal numbers, which for 10^9 numbers is many times as fast as computing each one. */
  private normal(name: string, count: number, deviation: number): Float32Array {
    const random = randomIntegers(this.options.seed, name);
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = deviation * this.pool[random() >>> 16];
    return values;
  }
}

/** Returns the standard deviation of an embedding or a matrix. Sharp attention and a strong FFN keep answers varied. */
function deviation(name: string, shape: readonly number[]): number {
  if (name === 'language_model.shared.weight') return 2 / Math.sqrt(shape[1]);
  if (name.endsWith('embed_positions.weight')) return 4 / Math.sqrt(shape[1]);
  if (name.includes('image_position_embed')) return 0.5;
  const fanIn = elementCount(shape.slice(1));
  return gain(name) / Math.sqrt(fanIn);
}

function gain(name: string): number {
  if (/_attn\.[qk]_proj/.test(name)) return 2;
  if (/language_model.*\.fc[12]/.test(name)) return 2;
  if (/channel_attn\.qkv/.test(name)) return 0.3; // it sums over positions, which are many more than channels
  if (/\.conv[12]\./.test(name)) return 0.5;
  return 1;
}

/** Returns Florence-2's table of temporal embeddings: interleaved sines and cosines (Vaswani et al. 2017). */
export function sinusoids([frames, width]: readonly number[]): Float32Array {
  return Float32Array.from({ length: frames * width }, (_, at) => {
    const [frame, channel] = [Math.floor(at / width), at % width];
    const angle = frame * Math.exp((-Math.log(10000) * (channel - (channel % 2))) / width);
    return channel % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  });
}

const poolSize = 65536;

/** Returns numbers of a standard normal distribution (Box and Muller 1958). */
function normalPool(random: () => number): Float32Array {
  const unit = () => (random() + 0.5) / 2 ** 32;
  return Float32Array.from(
    { length: poolSize },
    () => Math.sqrt(-2 * Math.log(unit())) * Math.cos(2 * Math.PI * unit()),
  );
}
