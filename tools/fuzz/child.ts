/** Reads changed files one after the other, and sends to its parent what came of each. See ../fuzz.ts. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { judge } from './judge.ts';
import { KINDS, writeFiles } from './kinds.ts';
import { mutate } from './mutate.ts';

/** What the parent sends: case `index` of a kind. */
export interface Case {
  kind: string;
  index: number;
  seed: number;
  folder: string;
}

/** What the child sends back: a complaint, or null if the outcome is as it should be, and its largest memory so far. */
export interface Verdict {
  complaint: string | null;
  file: string;
  peakBytes: number;
}

const kinds = new Map<string, Record<string, Uint8Array>>();
console.warn = () => {}; // warnings about the content are not failures

process.on('message', (message: Case) => {
  check(message).then(verdict => process.send!(verdict));
});

async function check({ kind, index, seed, folder }: Case): Promise<Verdict> {
  const { files, changed, read, named } = KINDS[kind];
  const originals = kinds.get(kind) ?? (await files());
  if (!kinds.has(kind)) {
    kinds.set(kind, originals);
    await writeFiles(folder, originals);
  }
  const names = Object.keys(originals).slice(0, changed);
  const file = names[index % names.length];
  const path = join(folder, file);
  await writeFile(path, mutate(originals[file], /json|txt|yaml/.test(file), seed, kind, index));
  const complaint = await read(folder, file).then(
    () => null,
    error => judge(error, folder, named),
  );
  await writeFile(path, originals[file]);
  return { complaint, file, peakBytes: 1024 * process.resourceUsage().maxRSS };
}
