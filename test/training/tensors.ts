import { download } from '../../src/activations/activation.ts';
import { inputLogits, type Subject } from '../../src/parity/subject.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';

/** Returns all tensors of a safetensors file, by name. */
export async function readTensors(path: string): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(path);
  try {
    const tensors = new Map<string, Float32Array>();
    for (const name of file.tensors.keys()) tensors.set(name, await file.readFloat32(name));
    return tensors;
  } finally {
    await file.close();
  }
}

/** Returns the logits of the inputs' answers under teacher forcing. */
export async function logitsOf(loaded: Subject): Promise<Float32Array> {
  return (await download(await inputLogits(loaded))).values;
}
