import { Tokenizer as BpeTokenizer } from '@huggingface/tokenizers';
import { Florence2Error, UsageError } from '../errors.ts';
import {
  anyText,
  checkKind,
  checkOptions,
  count,
  type OptionTable,
  oneOf,
  onOff,
  pickOptions,
  whole,
} from '../options.ts';
import { ByteLevelDecoder } from './byte_level.ts';
import {
  type AddedToken,
  largest,
  readTokenizerJson,
  type TokenizerFiles,
  type TokenizerJson,
} from './tokenizer_json.ts';

/** Options of `Tokenizer.encode`. */
export interface EncodeOptions {
  /** Adds `<s>` at the start and `</s>` at the end. Default true. */
  addSpecialTokens?: boolean;
  /** Largest number of ids, including `<s>` and `</s>`. Longer texts lose their last tokens. Default: no limit. */
  maxLength?: number;
}

/** Options of `Tokenizer.encodeBatch`. */
export interface BatchOptions extends EncodeOptions {
  /** Pads to the longest row (true), to `maxLength`, or not at all (false). Default true. */
  padding?: boolean | 'maxLength';
  /** Pads to a multiple of this length. Default 1. */
  padToMultipleOf?: number;
}

/** Result of `Tokenizer.encodeBatch`. */
export interface EncodedBatch {
  inputIds: number[][]; // [B, T], padded on the right
  attentionMask: number[][]; // [B, T], 1 for tokens, 0 for padding
  lengths: number[]; // [B], without padding
}

/** Options of `Tokenizer.decode`. */
export interface DecodeOptions {
  /** Leaves out special tokens, which include all location tokens. Default false. */
  skipSpecialTokens?: boolean;
  /** Removes spaces before punctuation, as older libraries did by default. Default false. */
  cleanUpTokenizationSpaces?: boolean;
}

const ENCODE_OPTIONS: OptionTable<EncodeOptions> = { addSpecialTokens: onOff, maxLength: whole };

const BATCH_OPTIONS: OptionTable<BatchOptions> = {
  ...{ ...ENCODE_OPTIONS, padToMultipleOf: count },
  padding: oneOf(true, false, 'maxLength'),
};

/** Position of a token in the decoded text, in UTF-16 code units, end exclusive. */
export type Span = [start: number, end: number];

/**
 * Florence-2's tokenizer: BART's byte-level BPE with 1,024 additional tokens for tasks and locations, which are added
 * if the files lack them. Its ids equal those of the Python library.
 */
export class Tokenizer {
  readonly bosTokenId: number;
  readonly eosTokenId: number;
  readonly padTokenId: number;
  /** Tokens added with `addTokens`. */
  readonly newTokens: AddedToken[] = [];
  private bpe: BpeTokenizer;
  private added: ReadonlyMap<number, AddedToken>;
  private readonly json: TokenizerJson;
  /** Folder of the files. */
  readonly source?: string;
  private readonly guard: <T>(encode: () => T) => T;

  /**
   * Creates a tokenizer from the contents of a checkpoint's files.
   *
   * @throws Florence2Error naming the file and what is wrong with it
   */
  static fromFiles(files: TokenizerFiles): Tokenizer {
    return new Tokenizer(files);
  }

  private constructor(files: TokenizerFiles) {
    const { json, names } = readTokenizerJson(files);
    this.json = json;
    this.source = files.source;
    this.guard = files.guard && !isPlain(json) ? files.guard : encode => encode();
    this.bpe = createBpe(json, this.source);
    this.added = tokensById(json);
    this.bosTokenId = this.tokenToId(names.bos)!;
    this.eosTokenId = this.tokenToId(names.eos)!;
    this.padTokenId = this.tokenToId(names.pad)!;
  }

  /** Encodes a text to ids. Added tokens in the text, such as `<loc_5>` or `</s>`, become single ids. */
  encode(text: string, options: EncodeOptions = {}): number[] {
    checkOptions('encode', options, ENCODE_OPTIONS);
    checkKind('text', text, anyText);
    const { addSpecialTokens = true, maxLength = Number.POSITIVE_INFINITY } = options;
    const room = maxLength - (addSpecialTokens ? 2 : 0);
    if (room < 0) throw new UsageError(`maxLength is ${maxLength}, expected at least 2, for <s> and </s>.`);
    const encode = (): number[] => this.bpe.encode(text, { add_special_tokens: false }).ids;
    const ids = text === '' ? [] : this.guard(encode).slice(0, room);
    return addSpecialTokens ? [this.bosTokenId, ...ids, this.eosTokenId] : ids;
  }

  /** Encodes texts to ids, padded on the right to equal length. */
  encodeBatch(texts: readonly string[], options: BatchOptions = {}): EncodedBatch {
    checkOptions('encodeBatch', options, BATCH_OPTIONS);
    const { padding = true, padToMultipleOf = 1, maxLength } = options;
    if (padding === 'maxLength' && maxLength === undefined)
      throw new UsageError('Padding to maxLength needs a maxLength.');
    const encoded = texts.map(text => this.encode(text, pickOptions(options, ENCODE_OPTIONS)));
    const lengths = encoded.map(ids => ids.length);
    const longest = padding === 'maxLength' ? maxLength! : Math.max(0, ...lengths);
    const padded = Math.ceil(longest / padToMultipleOf) * padToMultipleOf;
    const pad = (row: number[], value: number) =>
      padding ? [...row, ...new Array<number>(padded - row.length).fill(value)] : row;
    return {
      inputIds: encoded.map(ids => pad(ids, this.padTokenId)),
      attentionMask: encoded.map(ids =>
        pad(
          ids.map(() => 1),
          0,
        ),
      ),
      lengths,
    };
  }

  /** Decodes ids to text. Ids outside the vocabulary are skipped. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    checkOptions('decode', options, { skipSpecialTokens: onOff, cleanUpTokenizationSpaces: onOff });
    const kept = options.skipSpecialTokens ? Array.from(ids).filter(id => !this.isSpecial(id)) : ids;
    const { text } = this.decodeWithSpans(kept);
    return options.cleanUpTokenizationSpaces ? cleanUp(text) : text;
  }

  /** Decodes ids to text and returns the position of each id's token in it. */
  decodeWithSpans(ids: ArrayLike<number>): { text: string; spans: Span[] } {
    const stream = this.stream();
    const spans: Span[] = [];
    let text = '';
    for (const id of Array.from(ids)) {
      const start = text.length;
      text += stream.push(id);
      const added = this.added.get(id);
      // An added token is at the end of the text it completes. A token with a part of a character has that character.
      if (added) spans.push([text.length - added.content.length, text.length]);
      else spans.push([start, Math.max(text.length, start + (this.idToToken(id) ? 1 : 0))]);
    }
    return { text: text + stream.end(), spans };
  }

  /** Decodes ids one by one: `push` returns the text that an id completes, `end` U+FFFD for an incomplete character. */
  stream(): { push(id: number): string; end(): string } {
    const bytes = new ByteLevelDecoder();
    return {
      push: id => {
        const added = this.added.get(id);
        if (added) return bytes.end() + added.content;
        const token = this.idToToken(id);
        return token === undefined ? '' : bytes.push(token);
      },
      end: () => bytes.end(),
    };
  }

  /** Decodes each token separately. Parts of a split character become U+FFFD. */
  tokenTexts(ids: ArrayLike<number>): string[] {
    return Array.from(ids, id => this.decode([id]));
  }

  /** Returns the tokens as written in the vocabulary (`Ġ` is a space). Ids outside the vocabulary are left out. */
  tokens(ids: ArrayLike<number>): string[] {
    return Array.from(ids, id => this.idToToken(id)).filter(token => token !== undefined);
  }

  /** Returns the token of an id as written in the vocabulary. */
  idToToken(id: number): string | undefined {
    return this.bpe.id_to_token(id);
  }

  /** Returns the id of a token as written in the vocabulary. */
  tokenToId(token: string): number | undefined {
    return this.bpe.token_to_id(token);
  }

  /** Whether an id is a special token; location tokens are. */
  isSpecial(id: number): boolean {
    return this.added.get(id)?.special ?? false;
  }

  /** Whether an id is `<s>`, `</s>` or `<pad>`, which frame answers and are not part of them. */
  isFrame(id: number): boolean {
    return id === this.bosTokenId || id === this.eosTokenId || id === this.padTokenId;
  }

  /** Size of the vocabulary: the highest id plus one. */
  get size(): number {
    return largest([...Object.values(this.json.model.vocab), ...this.added.keys()]) + 1;
  }

  /** The tokens outside BPE's merges, including Florence-2's, sorted by id. */
  get addedTokens(): readonly AddedToken[] {
    return [...this.added.values()].sort((a, b) => a.id - b.id);
  }

  /**
   * Adds tokens, like `add_tokens` of the Python library. They are matched anywhere in a text and are not special
   * tokens, so decoding keeps them.
   *
   * @param firstId id of the first token; the others follow consecutively
   */
  addTokens(texts: readonly string[], firstId: number): void {
    const plain = { special: false, lstrip: false, rstrip: false, normalized: true, single_word: false };
    const tokens = texts.map((content, i): AddedToken => ({ id: firstId + i, content, ...plain }));
    this.newTokens.push(...tokens);
    this.json.added_tokens.push(...tokens);
    this.bpe = createBpe(this.json, this.source);
    this.added = tokensById(this.json);
  }

  /** Returns the contents of a tokenizer.json of this tokenizer, which the Python library can load too. */
  toJson(): object {
    const { normalizer, pre_tokenizer, model } = this.json;
    const [cls, sep] = [this.bosTokenId, this.eosTokenId].map(id => [this.idToToken(id), id]);
    return {
      ...{ version: '1.0', truncation: null, padding: null, added_tokens: this.addedTokens },
      ...{ normalizer, pre_tokenizer },
      post_processor: { type: 'RobertaProcessing', sep, cls, trim_offsets: true, add_prefix_space: false },
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
      model,
    };
  }
}

const tokensById = ({ added_tokens }: TokenizerJson): ReadonlyMap<number, AddedToken> =>
  new Map(added_tokens.map(token => [token.id, token]));

/** Unicode's white space. ECMAScript's `\s` includes U+FEFF and lacks U+0085. */
const SPACE = '\\p{White_Space}';
const WORDS = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|${SPACE}+(?!\\P{White_Space})|${SPACE}+`;

/** Whether the pre-tokenizer is GPT-2's, as in all published checkpoints. */
function isByteLevel({ pre_tokenizer }: TokenizerJson): boolean {
  const { type, use_regex, add_prefix_space } = (pre_tokenizer ?? {}) as Record<string, unknown>;
  return type === 'ByteLevel' && use_regex !== false && add_prefix_space !== true;
}

/** Whether the file has no regular expressions of its own. */
const isPlain = (json: TokenizerJson): boolean => isByteLevel(json) && json.normalizer === null;

function createBpe(json: TokenizerJson, source?: string): BpeTokenizer {
  const pre_tokenizer = isByteLevel(json)
    ? {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: WORDS }, behavior: 'Isolated', invert: false },
          { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
        ],
      }
    : json.pre_tokenizer;
  try {
    return new BpeTokenizer({ ...json, pre_tokenizer, post_processor: null, decoder: null }, {});
  } catch (error) {
    throw new Florence2Error(
      `The tokenizer ${source ? `of ${source} ` : ''}cannot be created: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

const CLEAN_UP: [from: string, to: string][] = [
  ...['.', '?', '!', ','].map((mark): [string, string] => [` ${mark}`, mark]),
  [" ' ", "'"],
  ...["n't", "'m", "'s", "'ve", "'re"].map((ending): [string, string] => [` ${ending}`, ending]),
];

const cleanUp = (text: string): string => CLEAN_UP.reduce((t, [from, to]) => t.replaceAll(from, to), text);
