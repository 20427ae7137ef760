import { Florence2Error } from '../errors.ts';
import { isRecord } from '../json.ts';
import { show } from '../show.ts';
import { LOCATION_BINS } from './locations.ts';

/** The contents of a checkpoint's tokenizer files: tokenizer.json, or vocab.json and merges.txt. */
export interface TokenizerFiles {
  tokenizerJson?: string;
  vocabJson?: string;
  mergesTxt?: string;
  tokenizerConfig?: string;
  /** Folder or repository of the files, for error messages. */
  source?: string;
  /** Runs an encoding with regular expressions of the files, which may take forever. Default: without a time limit. */
  guard?: <T>(encode: () => T) => T;
}

/** A token outside BPE's merges, as in tokenizer.json. */
export interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  single_word: boolean;
}

/** The fields used of a tokenizer.json. Its post-processor and decoder are not used; tokenizer.ts implements them. */
export interface TokenizerJson {
  added_tokens: AddedToken[];
  normalizer: unknown;
  pre_tokenizer: unknown;
  model: { type: 'BPE'; vocab: Record<string, number>; merges: string[] | [string, string][] };
}

/** The special tokens, from tokenizer_config.json if it names them. */
export interface SpecialTokens {
  bos: string;
  eos: string;
  pad: string;
}

/**
 * The tokens that Florence-2 adds to BART's, in the order of their ids, 50265 to 51288. The files of Microsoft's
 * checkpoints lack them: its processor adds them at run time. (`desciption` is the original spelling.)
 */
export const FLORENCE2_TOKENS: readonly string[] = [
  ...['<od>', '</od>', '<ocr>', '</ocr>'],
  ...Array.from({ length: LOCATION_BINS }, (_, bin) => `<loc_${bin}>`),
  ...['<cap>', '</cap>', '<ncap>', '</ncap>', '<dcap>', '</dcap>', '<grounding>', '</grounding>', '<seg>', '</seg>'],
  ...['<sep>', '<region_cap>', '</region_cap>', '<region_to_desciption>', '</region_to_desciption>'],
  ...['<proposal>', '</proposal>', '<poly>', '</poly>', '<and>'],
];

/**
 * Parses the files to one object and adds the tokens of Florence-2 that are missing.
 *
 * @throws Florence2Error naming the file and what is wrong with it
 */
export function readTokenizerJson(files: TokenizerFiles): { json: TokenizerJson; names: SpecialTokens } {
  const at: FileName = file => (files.source ? `${files.source}/${file}` : file);
  const config = files.tokenizerConfig ? parseObject(files.tokenizerConfig, at('tokenizer_config.json')) : {};
  const json =
    files.tokenizerJson !== undefined
      ? checkTokenizerJson(parseObject(files.tokenizerJson, at('tokenizer.json')), at('tokenizer.json'))
      : fromVocabAndMerges(files, at, config.add_prefix_space === true);
  const file = at(files.tokenizerJson !== undefined ? 'tokenizer.json' : 'vocab.json');
  const names = {
    bos: nameOf(config.bos_token) ?? '<s>',
    eos: nameOf(config.eos_token) ?? '</s>',
    pad: nameOf(config.pad_token) ?? '<pad>',
  };
  const known = tokenIds(json, file);
  const more = configTokens(config, at('tokenizer_config.json')).filter(token => !known.has(token.content));
  json.added_tokens = [...json.added_tokens, ...more];
  const idOf = more.length > 0 ? tokenIds(json, file) : known;
  for (const token of Object.values(names)) {
    if (!idOf.has(token))
      throw new Florence2Error(`${file} has no ${token} token. Is it the tokenizer of a Florence-2 checkpoint?`);
  }
  let next = largest(idOf.values()) + 1;
  for (const content of FLORENCE2_TOKENS) {
    if (!idOf.has(content)) json.added_tokens.push(addedToken(next++, content));
  }
  return { json, names };
}

function checkTokenizerJson(json: JsonObject, file: string): TokenizerJson {
  const { model, pre_tokenizer, normalizer = null, added_tokens = [] } = json;
  if (!isRecord(model)) throw new Florence2Error(`${file} has no model.`);
  if (model.type !== undefined && model.type !== 'BPE') {
    throw new Florence2Error(
      `${file} has a model of type ${show(model.type)}; Florence-2's tokenizer is a byte-level BPE.`,
    );
  }
  if (!hasByteLevel(pre_tokenizer)) {
    throw new Florence2Error(`${file} has no ByteLevel pre-tokenizer; Florence-2's tokenizer is a byte-level BPE.`);
  }
  if (!Array.isArray(added_tokens)) throw new Florence2Error(`${file}: added_tokens is not a list.`);
  return {
    added_tokens: added_tokens.map((token, i) => checkAddedToken(token, `${file}: added_tokens[${i}]`)),
    normalizer,
    pre_tokenizer,
    model: { ...model, type: 'BPE', vocab: checkVocab(model.vocab, file), merges: checkMerges(model.merges, file) },
  };
}

/** Creates the contents of tokenizer.json from BART's original files. The vocabulary includes the five base tokens. */
function fromVocabAndMerges(files: TokenizerFiles, at: FileName, addPrefixSpace: boolean): TokenizerJson {
  if (files.vocabJson === undefined || files.mergesTxt === undefined) {
    const missing = files.vocabJson === undefined ? 'vocab.json' : 'merges.txt';
    throw new Florence2Error(
      `${files.source ?? 'The tokenizer'} has neither tokenizer.json nor vocab.json and merges.txt (${missing} is missing). Name a checkpoint that has them with the option processor (--processor), such as microsoft/Florence-2-base.`,
    );
  }
  const vocab = checkVocab(parseObject(files.vocabJson, at('vocab.json')), at('vocab.json'));
  const merges = files.mergesTxt.split(/\r?\n/).filter(line => line !== '' && !line.startsWith('#version'));
  const base = ['<s>', '<pad>', '</s>', '<unk>', '<mask>'].filter(content => content in vocab);
  const added = base.map(content => ({ ...addedToken(vocab[content], content), lstrip: content === '<mask>' }));
  return {
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true },
    model: { type: 'BPE', vocab, merges: checkMerges(merges, at('merges.txt')) },
  };
}

/** Returns the added tokens that tokenizer_config.json lists by id. Older checkpoints list them only there. */
function configTokens(config: JsonObject, file: string): AddedToken[] {
  const listed = isRecord(config.added_tokens_decoder) ? config.added_tokens_decoder : {};
  return Object.entries(listed).map(([id, token]) =>
    checkAddedToken(isRecord(token) ? { ...token, id: Number(id) } : token, `${file}: added_tokens_decoder[${id}]`),
  );
}

/** Returns the ids of all tokens. @throws Florence2Error if two tokens have the same id: decoding would be ambiguous */
function tokenIds(json: TokenizerJson, file: string): Map<string, number> {
  const ids = new Map<string, number>();
  for (const content in json.model.vocab) ids.set(content, json.model.vocab[content]);
  for (const { id, content } of json.added_tokens) ids.set(content, id);
  const tokens = new Map<number, string>();
  for (const [content, id] of ids) {
    const other = tokens.get(id);
    if (other !== undefined)
      throw new Florence2Error(`${file}: tokens ${show(other)} and ${show(content)} both have id ${id}.`);
    tokens.set(id, content);
  }
  return ids;
}

function checkVocab(vocab: unknown, file: string): Record<string, number> {
  const tokens = isRecord(vocab) ? Object.keys(vocab) : [];
  if (tokens.length === 0) throw new Florence2Error(`${file} has no vocabulary.`);
  for (const token of tokens) {
    const id = (vocab as JsonObject)[token];
    if (!isId(id)) throw new Florence2Error(`${file}: token ${show(token)} has id ${show(id)}, not a whole number.`);
  }
  return vocab as Record<string, number>;
}

/** Checks merges, which a file writes either all as `"a b"` or all as `["a", "b"]`. */
function checkMerges(merges: unknown, file: string): string[] | [string, string][] {
  if (!Array.isArray(merges)) throw new Florence2Error(`${file} has no merges.`);
  const pairs = Array.isArray(merges[0]);
  const isMerge = (merge: unknown) =>
    pairs
      ? Array.isArray(merge) && merge.length === 2 && merge.every(part => typeof part === 'string')
      : typeof merge === 'string' && /^[^ ]+ [^ ]+$/.test(merge);
  const wrong = merges.findIndex(merge => !isMerge(merge));
  if (wrong >= 0) throw new Florence2Error(`${file}: merge ${wrong} is ${show(merges[wrong])}, not a pair of tokens.`);
  return merges;
}

function checkAddedToken(token: unknown, where: string): AddedToken {
  if (!isRecord(token) || typeof token.content !== 'string' || token.content === '' || !isId(token.id)) {
    throw new Florence2Error(`${where} is not a token with an id and a content.`);
  }
  return { ...addedToken(token.id, token.content), ...token } as AddedToken;
}

function addedToken(id: number, content: string): AddedToken {
  return { id, content, special: true, lstrip: false, rstrip: false, normalized: false, single_word: false };
}

/** Returns the largest number. `Math.max` takes at most about 125,000 arguments. */
export function largest(numbers: Iterable<number>): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const number of numbers) most = Math.max(most, number);
  return most;
}

/** Whether a pre-tokenizer is ByteLevel, or a sequence with one. */
function hasByteLevel(preTokenizer: unknown): boolean {
  const { type, pretokenizers } = isRecord(preTokenizer) ? preTokenizer : {};
  if (type === 'ByteLevel') return true;
  return Array.isArray(pretokenizers) && pretokenizers.some(part => isRecord(part) && part.type === 'ByteLevel');
}

type FileName = (file: string) => string;
type JsonObject = Record<string, unknown>;

function parseObject(text: string, file: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = (error as Error).message.replace(/\s+/g, ' ');
    throw new Florence2Error(`${file} is not valid JSON: ${reason}`, { cause: error });
  }
  if (!isRecord(value)) throw new Florence2Error(`${file} does not hold a JSON object.`);
  return value;
}

/** Returns the text of a special token, which is written as a string or as an object with a content. */
const nameOf = (token: unknown): string | undefined =>
  typeof token === 'string' ? token : isRecord(token) && typeof token.content === 'string' ? token.content : undefined;

const isId = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
