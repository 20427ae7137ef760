import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folder of PyTorch's tensors: the whole reference if FLORENCE2_REFERENCE is set, else the part in this repository. */
export const referenceRoot = process.env.FLORENCE2_REFERENCE ?? fileURLToPath(new URL('./reference', import.meta.url));

/** Whether the whole reference is available. Cases outside the part in this repository run only then. */
export const wholeReference = process.env.FLORENCE2_REFERENCE !== undefined;

/** Returns the path of a reference file. Throws if it is missing, so that a test cannot pass without it. */
export function reference(path: string): string {
  const file = join(referenceRoot, path);
  if (!existsSync(file)) throw new Error(`Reference file ${file} does not exist. Check FLORENCE2_REFERENCE.`);
  return file;
}

/** Whether a reference file exists. With FLORENCE2_REFERENCE set always true, so that a missing file is an error. */
export function hasReference(path: string): boolean {
  return wholeReference || existsSync(join(referenceRoot, path));
}

// biome-ignore lint/suspicious/noExplicitAny: each suite names the fields it reads
export const referenceJson = (path: string): any => JSON.parse(readFileSync(reference(path), 'utf8'));
