import type * as tf from '@tensorflow/tfjs';

/** An activation downloaded from the backend. */
export interface Activation {
  /** Values in row-major order. */
  readonly values: Float32Array;
  /** Shape of the activation. */
  readonly shape: number[];
}

/**
 * Returns what activations belong to, as the metadata of their file.
 *
 * @param model folder of the checkpoint
 * @param tokens ids of the answer, from the decoder's start token on
 * @param imageHash see `imageHash`
 */
export function metadataOf(
  model: string,
  task: string,
  prompt: string,
  tokens: readonly number[],
  imageHash?: string,
): Record<string, string> {
  return { model, task, prompt, ...(imageHash && { image_sha256: imageHash }), token_ids: JSON.stringify(tokens) };
}

/** The difference between two arrays. */
export interface Difference {
  /** Largest |got − want|; infinite if only one of the two is NaN. */
  readonly maxAbs: number;
  /** ‖got − want‖ / ‖want‖ */
  readonly relative: number;
}

/** Compares two arrays of equal length. */
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

/** Downloads the values of a tensor, converted to float32, and disposes the tensor. */
export async function download(tensor: tf.Tensor): Promise<Activation> {
  try {
    const values = await tensor.data();
    return { values: values instanceof Float32Array ? values : Float32Array.from(values), shape: [...tensor.shape] };
  } finally {
    tensor.dispose();
  }
}
