import type { Parameter } from '../nn/params.ts';

/** The values of a parameter in the checkpoint's order. */
export async function checkpointValues(parameter: Parameter): Promise<Float32Array> {
  const ordered = parameter.inCheckpointOrder(parameter.value);
  try {
    return (await ordered.data()) as Float32Array;
  } finally {
    ordered.dispose();
  }
}
