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

/** The token that transformers' processor writes into a prompt in place of the image. */
export const IMAGE_TOKEN = '<image>';

/**
 * Writes the files of a tokenizer. Without new tokens they are copies. With new tokens, tokenizer.json contains all
 * tokens, and the other files that list added tokens also list the new ones.
 *
 * @param from the folder from which the tokenizer was loaded
 * @param to receives the files; files with the same names are replaced
 * @param imageTokenId for transformers' processor: id of its image token, which the files then name. Default null
 */
export async function saveTokenizer(
  tokenizer: Tokenizer,
  from: Folder,
  to: Folder,
  imageTokenId: number | null = null,
): Promise<void> {
  const changed = await changedFiles(tokenizer, from, imageTokenId);
  for (const name of TOKENIZER_FILES) {
    const json = changed.get(name);
    const content = json ? jsonBytes(json) : await from.read(name);
    if (content) await to.write(name, content);
  }
}

/** Returns an object as the content of a JSON file. */
export const jsonBytes = (value: object): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

/** Returns the contents of the files that differ from those in `from`, by name. */
async function changedFiles(
  tokenizer: Tokenizer,
  from: Folder,
  imageTokenId: number | null,
): Promise<Map<string, object>> {
  const fresh = [...tokenizer.newTokens];
  if (imageTokenId !== null && tokenizer.tokenToId(IMAGE_TOKEN) === undefined) {
    const matching = { lstrip: false, rstrip: false, normalized: false, single_word: false };
    fresh.push({ id: imageTokenId, content: IMAGE_TOKEN, special: true, ...matching });
  }
  if (fresh.length === 0 && imageTokenId === null) return new Map();
  const json = (await readJson(from, 'tokenizer.json'))?.json ?? tokenizer.toJson();
  const tokens = [...new Map([...tokenizer.addedTokens, ...fresh].map(token => [token.id, token])).values()];
  const changed = new Map<string, object>([['tokenizer.json', { ...json, added_tokens: tokens }]]);
  const config = (await readJson(from, 'tokenizer_config.json'))?.json;
  const listed = isRecord(config?.added_tokens_decoder) ? config.added_tokens_decoder : undefined;
  const decoder = listed && {
    added_tokens_decoder: { ...listed, ...Object.fromEntries(fresh.map(({ id, ...token }) => [id, token])) },
  };
  if (imageTokenId !== null) {
    const { auto_map, ...settings } = config ?? { bos_token: '<s>', eos_token: '</s>', pad_token: '<pad>' };
    const extra_special_tokens = { image_token: IMAGE_TOKEN };
    // The class takes tokenizer.json as it is; transformers' BartTokenizer would ignore settings of its BPE.
    const tokenizer_class = 'PreTrainedTokenizerFast';
    const image = { tokenizer_class, processor_class: 'Florence2Processor', extra_special_tokens };
    changed.set('tokenizer_config.json', { ...settings, ...decoder, ...image });
  } else if (decoder) changed.set('tokenizer_config.json', { ...config, ...decoder });
  const list = (await readJson(from, 'added_tokens.json'))?.json;
  const ids = Object.fromEntries(fresh.map(({ id, content }) => [content, id]));
  if (list) changed.set('added_tokens.json', { ...list, ...ids });
  return changed;
}
