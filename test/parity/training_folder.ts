import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { reference, referenceJson } from '../reference.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { type ManifestJson, readWithChange } from './reference_folder.ts';

const temporary = temporaryFolder();

/**
 * Creates a reference folder of links with some trainings of tiny.
 *
 * @param trainings paths such as `train/full` or `lora/basic`; `train` for all of train/
 * @param edit changes the manifest
 * @param layouts checkpoints to include, by folder
 */
export function trainingFolder(
  trainings: string[],
  edit: (manifest: ManifestJson) => void = () => {},
  layouts: string[] = ['hf'],
): string {
  const source = reference('model/tiny');
  const folder = mkdtempSync(join(temporary, 'training-'));
  const { checkpoints, files, training, lora, ms_vocab }: ManifestJson = referenceJson('model/tiny/manifest.json');
  const isOne = (path: string): boolean => trainings.some(name => path === name || path.startsWith(`${name}/`));
  const chosen = <T>(entries: unknown, pathOf: (name: string) => string): Record<string, T> =>
    Object.fromEntries(Object.entries(entries as Record<string, T>).filter(([name]) => isOne(pathOf(name))));
  const manifest: ManifestJson = {
    ms_vocab,
    checkpoints: Object.fromEntries(layouts.map(layout => [`${layout}/model.safetensors`, checkpoints[`${layout}/model.safetensors`]])), // biome-ignore format: one line
    files: chosen(files, name => name),
    training: chosen(training, name => `train/${name}`),
    lora: chosen(lora, name => `lora/${name}`),
  };
  edit(manifest);
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
  for (const path of readdirSync(source, { recursive: true, encoding: 'utf8' })) {
    const wanted = path === 'inputs.safetensors' || layouts.includes(dirname(path)) || isOne(path);
    if (!wanted || statSync(join(source, path)).isDirectory()) continue;
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    symlinkSync(join(source, path), join(folder, path));
  }
  return folder;
}

/** Replaces the link to a JSON file by a changed copy. Returns the folder. */
export function changeJson(folder: string, file: string, change: (json: Record<string, unknown>) => void): string {
  const path = join(folder, file);
  const json = JSON.parse(readFileSync(path, 'utf8'));
  change(json);
  rmSync(path); // a link
  writeFileSync(path, JSON.stringify(json));
  return folder;
}

/** Replaces the link to a safetensors file by a copy with one changed tensor. Returns the folder. */
export async function changeTensor(
  folder: string,
  file: string,
  tensor: string,
  change: (values: Float32Array) => void,
): Promise<string> {
  const path = join(folder, file);
  const tensors = await readWithChange(path, tensor, change);
  rmSync(path);
  await writeSafetensors(path, tensors);
  return folder;
}
