import { dirname } from 'node:path';
import { HookRegistry } from '../../src/hooks/hooks.ts';
import type { Memory } from '../../src/language/decoder.ts';
import { readManifest } from '../../src/parity/manifest.ts';
import { encodeImages, encodePrompts, loadCheckpoint, type Subject } from '../../src/parity/subject.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { reference } from '../reference.ts';

/** Encodes the images and prompts of the inputs: returns the encoder's output. */
export async function encodeInputs(loaded: Subject, masked: boolean): Promise<Memory> {
  const features = await encodeImages(loaded);
  return encodePrompts({ ...loaded, features }, masked).finally(() => features.dispose());
}

/** Loads a reference checkpoint with its inputs and an empty hook registry. */
export async function openSubject(variant = 'tiny-pad', file = 'hf/model.safetensors'): Promise<Subject> {
  const inputs = await openSafetensors(reference(`model/${variant}/inputs.safetensors`));
  const folder = dirname(inputs.path);
  const loaded = await loadCheckpoint(folder, { file, dtype: 'float32' });
  loaded.model.lmHead.prepare(); // computed from weights on first use, so not a leak
  return { ...loaded, manifest: await readManifest(folder), inputs, hooks: new HookRegistry() };
}
