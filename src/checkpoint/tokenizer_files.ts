import { Florence2Error } from '../errors.ts';
import { type Folder, readText } from '../files/folder.ts';
import { isRecord } from '../json.ts';
import { withTimeLimit } from '../platform/node.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { readJson } from './load_config.ts';

/** Time limit of encoding a text with regular expressions from tokenizer.json. */
const ENCODE_SECONDS = 2;

/** Loads the tokenizer of a checkpoint from tokenizer.json, or from vocab.json and merges.txt. */
export async function loadTokenizer(folder: Folder): Promise<Tokenizer> {
  const source = folder.path;
  const late = () =>
    new Florence2Error(
      `A text takes more than ${ENCODE_SECONDS} s to encode: check the regular expressions of ${source}.`,
    );
  const guard = <T>(encode: () => T): T => withTimeLimit(1000 * ENCODE_SECONDS, encode, late);
  const [tokenizerJson, tokenizerConfig] = await Promise.all([
    readText(folder, 'tokenizer.json'),
    readText(folder, 'tokenizer_config.json'),
  ]);
  if (tokenizerJson !== undefined) return Tokenizer.fromFiles({ tokenizerJson, tokenizerConfig, source, guard });
  const [vocabJson, mergesTxt] = await Promise.all([readText(folder, 'vocab.json'), readText(folder, 'merges.txt')]);
  return Tokenizer.fromFiles({ vocabJson, mergesTxt, tokenizerConfig, source, guard });
}

/** The files of a tokenizer, including those that only Python's libraries read. */
export const TOKENIZER_FILES = [
  ...['tokenizer.json', 'tokenizer_config.json', 'vocab.json', 'merges.txt', 'added_tokens.json'],
  'special_tokens_map.json',
];

/**
 * Writes the files of a tokenizer. Without new tokens they are copies. With new tokens, tokenizer.json contains all
 * tokens, and the other files that list added tokens also list the new ones.
 *
 * @param from the folder from which the tokenizer was loaded
 * @param to receives the files; files with the same names are replaced
 */
export async function saveTokenizer(tokenizer: Tokenizer, from: Folder, to: Folder): Promise<void> {
  const changed = tokenizer.newTokens.length > 0 ? await filesWithNewTokens(tokenizer, from) : new Map();
  for (const name of TOKENIZER_FILES) {
    const content = changed.has(name) ? jsonBytes(changed.get(name)) : await from.read(name);
    if (content) await to.write(name, content);
  }
}

/** Returns an object as the content of a JSON file. */
export const jsonBytes = (value: object): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

async function filesWithNewTokens(tokenizer: Tokenizer, from: Folder): Promise<Map<string, object>> {
  const { newTokens, addedTokens } = tokenizer;
  const json = (await readJson(from, 'tokenizer.json'))?.json ?? tokenizer.toJson();
  const changed = new Map<string, object>([['tokenizer.json', { ...json, added_tokens: addedTokens }]]);
  const config = (await readJson(from, 'tokenizer_config.json'))?.json;
  if (isRecord(config?.added_tokens_decoder)) {
    const fresh = Object.fromEntries(newTokens.map(({ id, ...token }) => [id, token]));
    changed.set('tokenizer_config.json', {
      ...config,
      added_tokens_decoder: { ...config.added_tokens_decoder, ...fresh },
    });
  }
  const list = (await readJson(from, 'added_tokens.json'))?.json;
  const fresh = Object.fromEntries(newTokens.map(({ id, content }) => [content, id]));
  if (list) changed.set('added_tokens.json', { ...list, ...fresh });
  return changed;
}
