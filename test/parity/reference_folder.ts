import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TensorToWrite } from '../../src/weights/safetensors.ts';
import { openSafetensors, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { reference, referenceJson } from '../reference.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const temporary = temporaryFolder();

interface Entry {
  name: string;
  shape: number[];
  [measure: string]: unknown;
}
export interface ManifestJson {
  checkpoints: Record<string, { dtype: string }>;
  files: Record<string, Entry[]>;
  [field: string]: unknown;
}

/**
 * Creates a reference folder of links with one checkpoint of tiny-pad, without generations.
 *
 * @param edit changes the manifest
 * @param own files to leave out, so that the caller can write them
 */
export function referenceFolder(edit: (manifest: ManifestJson) => void = () => {}, own: string[] = []): string {
  const source = reference('model/tiny-pad');
  const folder = mkdtempSync(join(temporary, 'variant-'));
  const manifest: ManifestJson = referenceJson('model/tiny-pad/manifest.json');
  manifest.checkpoints = { 'hf/model.safetensors': manifest.checkpoints['hf/model.safetensors'] };
  delete manifest.ms_greedy_nocache;
  delete manifest.generation;
  edit(manifest);
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
  mkdirSync(join(folder, 'hf'));
  const files = readdirSync(source).filter(name => name.endsWith('.safetensors'));
  for (const name of [...files, ...readdirSync(join(source, 'hf')).map(name => `hf/${name}`)]) {
    if (!own.includes(name)) symlinkSync(join(source, name), join(folder, name));
  }
  return folder;
}

/** Creates the same folder with a change in one tensor of one file. */
export async function folderWithChange(
  file: string,
  tensor: string,
  change: (values: Float32Array) => void,
): Promise<string> {
  const folder = referenceFolder(() => {}, [file]);
  const tensors = await readWithChange(join(reference('model/tiny-pad'), file), tensor, change);
  await writeSafetensors(join(folder, file), tensors);
  return folder;
}

/** Reads all tensors of a safetensors file, with a change in one of them. */
export async function readWithChange(
  path: string,
  tensor: string,
  change: (values: Float32Array) => void,
): Promise<TensorToWrite[]> {
  const file = await openSafetensors(path);
  const tensors: TensorToWrite[] = [];
  for (const { name, shape } of file.tensors.values()) {
    const data = await file.readFloat32(name);
    if (name === tensor) change(data);
    tensors.push({ name, shape, data });
  }
  await file.close();
  return tensors;
}

/** Creates a folder with these text files. */
export function folderOf(files: Record<string, string>): string {
  const folder = mkdtempSync(join(temporary, 'folder-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

export const manifestText = (): string => readFileSync(reference('model/tiny-pad/manifest.json'), 'utf8');
