import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Florence2Error } from '../errors.ts';
import { Tokenizer } from './tokenizer.ts';

/** The tokenizer of a checkpoint's folder: tokenizer.json, or vocab.json and merges.txt. For Node. */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const [tokenizerJson, tokenizerConfig] = await Promise.all([
    readIfThere(join(folder, 'tokenizer.json')),
    readIfThere(join(folder, 'tokenizer_config.json')),
  ]);
  if (tokenizerJson !== undefined) return Tokenizer.fromFiles({ tokenizerJson, tokenizerConfig, source: folder });
  const [vocabJson, mergesTxt] = await Promise.all([
    readIfThere(join(folder, 'vocab.json')),
    readIfThere(join(folder, 'merges.txt')),
  ]);
  return Tokenizer.fromFiles({ vocabJson, mergesTxt, tokenizerConfig, source: folder });
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new Florence2Error(`${file} cannot be read: ${message}`);
  }
}
