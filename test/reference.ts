import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of PyTorch's numbers: all of it where FLORENCE2_REFERENCE points, else the part kept in this repository. */
export const referenceRoot = process.env.FLORENCE2_REFERENCE ?? fileURLToPath(new URL('./reference', import.meta.url));

/** True when the whole reference is at hand. Cases outside the part kept here run only then. */
export const wholeReference = process.env.FLORENCE2_REFERENCE !== undefined;

/** Path of a reference file. Throws when it is absent: a suite must not pass by finding nothing. */
export function reference(path: string): string {
  const file = join(referenceRoot, path);
  if (!existsSync(file)) throw new Error(`Reference file ${file} does not exist. Check FLORENCE2_REFERENCE.`);
  return file;
}

/** True for what `reference` would find here. With the whole reference named, everything counts as present. */
export function hasReference(path: string): boolean {
  return wholeReference || existsSync(join(referenceRoot, path));
}

// biome-ignore lint/suspicious/noExplicitAny: each suite names the fields it reads
export const referenceJson = (path: string): any => JSON.parse(readFileSync(reference(path), 'utf8'));
