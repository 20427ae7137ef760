import type { DumpLayout } from './dump_names.ts';

/** Values on their way from a backend to a comparison. */
export interface Activation {
  readonly values: Float32Array;
  readonly shape: number[];
}

export interface Difference {
  /** Largest |got - want|; infinite where only one of the two is a number. */
  readonly maxAbs: number;
  /** ‖got - want‖ / ‖want‖ */
  readonly relative: number;
}

/** Of arrays of equal length. */
export function difference(got: ArrayLike<number>, want: ArrayLike<number>): Difference {
  let maxAbs = 0;
  let squares = 0;
  let size = 0;
  for (let i = 0; i < want.length; i++) {
    const d = Object.is(got[i], want[i]) ? 0 : Math.abs(got[i] - want[i]);
    if (!(d <= maxAbs)) maxAbs = Number.isNaN(d) ? Infinity : d;
    squares += d * d;
    size += want[i] * want[i];
  }
  return { maxAbs, relative: squares === 0 ? 0 : Math.sqrt(squares / size) };
}

/**
 * An activation in a dump's layout, or undefined where it cannot have the dump's shape. Permuted here and not by the
 * backend: what is judged should come from the network alone.
 */
export function toDumpLayout(activation: Activation, layout: DumpLayout, shape: number[]): Float32Array | undefined {
  const { values } = activation;
  const count = shape.reduce((n, d) => n * d, 1);
  if (layout === 'same') return sameElements(activation.shape, shape) ? values : undefined;
  const [H, W, C] = activation.shape.slice(-3);
  const images = activation.shape.length === 4 ? activation.shape[0] : shape[0];
  if ([images, C, H, W].join() !== shape.join()) return undefined;
  const permuted = new Float32Array(count);
  const perImage = H * W * C;
  for (let i = 0; i < count; i++) {
    const position = i % (H * W);
    const channel = Math.floor(i / (H * W)) % C;
    const image = activation.shape.length === 4 ? Math.floor(i / perImage) : 0;
    permuted[i] = values[image * perImage + position * C + channel];
  }
  return permuted;
}

/** Equal shapes, but rows and columns of a map may be one axis there: [B, H, W, C] is [B, H·W, C]. */
function sameElements(here: number[], there: number[]): boolean {
  if (here.length === 4 && there.length === 3) {
    const [B, H, W, C] = here;
    return [B, H * W, C].join() === there.join();
  }
  return here.join() === there.join();
}
