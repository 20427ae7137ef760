import { LOCATION_BINS } from '../../src/text/locations.ts';
import { normalStream } from '../../src/training/random.ts';
import { elementCount } from '../../src/weights/tensor_file.ts';
import { sinusoids } from '../random_weights.ts';

/**
 * Weights to start training from: matrices and filters normal with variance 1 / fan-in, norms at 1 and 0, biases 0.
 * Embeddings of neighbouring locations are near each other, so that a place that is almost right is almost rewarded.
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
    const normal = normalStream(this.seed, name);
    const deviation = deviationOf(name, shape);
    for (let i = 0; i < values.length; i++) values[i] = deviation * normal();
    if (name === 'language_model.shared.weight') this.placeLocations(values, shape[1], deviation);
    return values;
  }

  /** Sines and cosines over the image's width, from a quarter of a wave to 64 waves: each row is one location. */
  private placeLocations(table: Float32Array, width: number, deviation: number): void {
    const pairs = Math.floor(width / 2);
    for (let bin = 0; bin < LOCATION_BINS; bin++) {
      for (let pair = 0; pair < pairs; pair++) {
        const waves = 0.25 * 256 ** (pair / (pairs - 1));
        const angle = (2 * Math.PI * waves * (bin + 0.5)) / LOCATION_BINS;
        const at = (this.firstLocation + bin) * width + 2 * pair;
        table[at] = deviation * Math.SQRT2 * Math.sin(angle);
        table[at + 1] = deviation * Math.SQRT2 * Math.cos(angle);
      }
    }
  }
}

function deviationOf(name: string, shape: readonly number[]): number {
  if (/embed|shared/.test(name)) return name.includes('image_position_embed') ? 0.5 : 1 / Math.sqrt(shape[1]);
  return 1 / Math.sqrt(elementCount(shape.slice(1)));
}
