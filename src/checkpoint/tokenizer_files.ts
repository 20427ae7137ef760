import { existsSync } from 'node:fs';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Florence2Error } from '../errors.ts';
import { isRecord, parseJsonObject } from '../json.ts';
import { Tokenizer } from '../text/tokenizer.ts';

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

/** Files that tell of a tokenizer, those of Python's libraries too. */
const fileNames = [
  ...['tokenizer.json', 'tokenizer_config.json', 'vocab.json', 'merges.txt', 'added_tokens.json'],
  'special_tokens_map.json',
];

/**
 * Writes the files of a tokenizer that was loaded from a folder into another. Without new tokens they are the same;
 * with them tokenizer.json has all tokens, and the files that list added tokens beside it list the new ones.
 *
 * @param to exists; files of the same names are replaced
 */
export async function saveTokenizer(tokenizer: Tokenizer, from: string, to: string): Promise<void> {
  const changed = tokenizer.newTokens.length > 0 ? await filesWithNewTokens(tokenizer, from) : new Map();
  for (const name of fileNames) {
    const [source, target] = [join(from, name), join(to, name)];
    if (changed.has(name)) await writeFile(target, `${JSON.stringify(changed.get(name), null, 2)}\n`);
    else if (existsSync(source)) await copyFile(source, target);
  }
}

async function filesWithNewTokens(tokenizer: Tokenizer, from: string): Promise<Map<string, object>> {
  const { newTokens, addedTokens } = tokenizer;
  const json = (await readJson(join(from, 'tokenizer.json'))) ?? tokenizer.toJson();
  const changed = new Map<string, object>([['tokenizer.json', { ...json, added_tokens: addedTokens }]]);
  const config = await readJson(join(from, 'tokenizer_config.json'));
  if (isRecord(config?.added_tokens_decoder)) {
    const fresh = Object.fromEntries(newTokens.map(({ id, ...token }) => [id, token]));
    changed.set('tokenizer_config.json', {
      ...config,
      added_tokens_decoder: { ...config.added_tokens_decoder, ...fresh },
    });
  }
  const list = await readJson(join(from, 'added_tokens.json'));
  const fresh = Object.fromEntries(newTokens.map(({ id, content }) => [content, id]));
  if (list) changed.set('added_tokens.json', { ...list, ...fresh });
  return changed;
}

async function readJson(file: string): Promise<Record<string, unknown> | undefined> {
  const text = await readIfThere(file);
  return text === undefined ? undefined : parseJsonObject(text, file);
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
