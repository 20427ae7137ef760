import { type GenerationConfig, MAX_ROWS } from '../config/generation.ts';
import type { TextConfig } from '../config/model.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import {
  checkOptions,
  finite,
  type Kind,
  listOf,
  type OptionTable,
  oneOf,
  onOff,
  positive,
  share,
  whole,
  wholeFrom,
} from '../options.ts';
import { show } from '../show.ts';
import type { LocationTokens } from '../text/locations.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { Constraint } from './constraint.ts';

/**
 * Options of a generation. Defaults come from the checkpoint's generation_config.json; the defaults below apply where
 * it has none. Names and meanings are those of transformers' GenerationConfig.
 */
export interface GenerationOptions {
  /** Number of beams of the beam search, at most 1024; 1 is greedy decoding. Default 3. */
  numBeams?: number;
  /** Largest number of generated tokens, including `</s>`; limited to the decoder's positions. Default 1024. */
  maxNewTokens?: number;
  /** Smallest number of generated tokens: no answer ends before. Default 0. */
  minNewTokens?: number;
  /**
   * When the beam search stops. `true`: as soon as there are `numBeams` answers. `false`: when the best unfinished beam
   * has no better score than the worst of them. `'never'`: when no unfinished beam can reach a better score.
   * Default true.
   */
  earlyStopping?: boolean | 'never';
  /** Scores are divided by length ** lengthPenalty: above 0 favours long answers, below 0 short ones. Default 1. */
  lengthPenalty?: number;
  /** No n-gram of this size occurs twice in an answer; 0 allows all. Default 3. */
  noRepeatNgramSize?: number;
  /**
   * The scores of tokens that have occurred are divided by this if they are above 0, else multiplied: above 1 there are
   * fewer repetitions (Keskar et al. 2019). Default 1.
   */
  repetitionPenalty?: number;
  /**
   * Words that answers do not contain, as texts or as token ids. A text is banned as the tokenizer splits it, at the
   * beginning of a text and after a space; it is case-sensitive. Default none.
   */
  badWords?: readonly (string | readonly number[])[];
  /**
   * Draws each token at random, with the probabilities of the model. With several beams: beam sampling, which draws the
   * extensions of the beams. Default false.
   */
  doSample?: boolean;
  /** The same seed draws the same answer, whatever other requests are in its batch. Default 0. */
  seed?: number;
  /** Sampling: logits are divided by this. Below 1 probable tokens are drawn more often. Default 1. */
  temperature?: number;
  /** Sampling: only the `topK` most probable tokens are drawn; 0 for all. Default 50. */
  topK?: number;
  /** Sampling: only the most probable tokens are drawn, as many as have this probability in all. Default 1. */
  topP?: number;
  /** Sampling: only tokens with at least this share of the highest probability are drawn. Default 0. */
  minP?: number;
  /** Forces the first generated token; null: the model chooses it. Default 0, `<s>`. */
  forcedBosTokenId?: number | null;
  /** Forces the last token when `maxNewTokens` is reached; null: the model chooses it. Default 2, `</s>`. */
  forcedEosTokenId?: number | null;
  /** The tokens that end an answer. Default: that of config.json, `</s>`. */
  eosTokenIds?: readonly number[];
  /**
   * Number of answers returned: with several beams the best, at most `numBeams`; with one beam that many samples, which
   * needs `doSample`. Default 1.
   */
  numReturnSequences?: number;
  /** Caches the keys and values of earlier tokens. false: the same answer, slower. Default true. */
  useCache?: boolean;
}

/** All settings of a generation, checked. */
export interface GenerationSettings extends Required<Omit<GenerationOptions, 'badWords'>> {
  /** Sequences of token ids. */
  readonly badWords: readonly (readonly number[])[];
  readonly decoderStartTokenId: number;
  readonly padTokenId: number;
  /** The location tokens, whose neighbours count for `nearbyProbs`. Default: none. */
  readonly locations?: LocationTokens;
  /** By batch item; null: no constraint. Default: none. */
  readonly constraints?: readonly (Constraint | null)[];
}

/** Florence-2's defaults: its generation_config.json, with `max_new_tokens` of the model card. */
export const GENERATION_DEFAULTS: Readonly<Required<Omit<GenerationOptions, 'eosTokenIds'>>> = {
  numBeams: 3,
  maxNewTokens: 1024,
  minNewTokens: 0,
  earlyStopping: true,
  lengthPenalty: 1,
  noRepeatNgramSize: 3,
  repetitionPenalty: 1,
  badWords: [],
  doSample: false,
  seed: 0,
  temperature: 1,
  topK: 50,
  topP: 1,
  minP: 0,
  forcedBosTokenId: 0,
  forcedEosTokenId: 2,
  numReturnSequences: 1,
  useCache: true,
};

const rows: Kind = {
  expected: `a whole number from 1 to ${MAX_ROWS}`,
  allows: value => wholeFrom(1).allows(value) && (value as number) <= MAX_ROWS,
};
const token: Kind = { ...whole, expected: 'a token id of the vocabulary' };
const tokenOrNull: Kind = { expected: `${token.expected}, or null`, allows: id => id === null || token.allows(id) };
const filled = (kind: Kind): Kind => ({
  ...kind,
  allows: value => kind.allows(value) && (value as ArrayLike<unknown>).length > 0,
});
const word: Kind = {
  expected: 'a text or token ids',
  allows: value => (typeof value === 'string' ? value.trim() !== '' : filled(listOf(token, '')).allows(value)),
};

/** The kinds of the generation options. */
export const GENERATION_OPTIONS: OptionTable<GenerationOptions> = {
  numBeams: rows,
  maxNewTokens: wholeFrom(1),
  minNewTokens: whole,
  earlyStopping: oneOf(true, false, 'never'),
  lengthPenalty: finite,
  noRepeatNgramSize: { ...whole, expected: 'a whole number, 0 for no limit' },
  repetitionPenalty: positive,
  badWords: listOf(word, 'texts or lists of token ids'),
  doSample: onOff,
  seed: whole,
  temperature: positive,
  topK: { ...whole, expected: 'a whole number, 0 for no limit' },
  topP: share,
  minP: share,
  forcedBosTokenId: tokenOrNull,
  forcedEosTokenId: tokenOrNull,
  eosTokenIds: filled(listOf(token, 'token ids of the vocabulary')),
  numReturnSequences: rows,
  useCache: onOff,
};

type Resolved = Exclude<keyof GenerationSettings, 'locations' | 'constraints'>;

const SETTINGS: OptionTable<Pick<GenerationSettings, Resolved>> = {
  ...GENERATION_OPTIONS,
  ...{ decoderStartTokenId: token, padTokenId: token },
};

/**
 * Returns the settings of a generation: the call's options, then the checkpoint's, then Florence-2's defaults.
 *
 * @param checkpoint contents of generation_config.json
 * @param text config of the language model: its vocabulary, number of positions and default special tokens
 * @param tokenizer splits the texts of `badWords`, which need it
 * @throws UsageError for a wrong option, Florence2Error for a wrong value in generation_config.json
 */
export function resolveGeneration(
  options: GenerationOptions,
  checkpoint: GenerationConfig,
  text: TextConfig,
  tokenizer?: Pick<Tokenizer, 'encode'>,
): GenerationSettings {
  checkOptions('The generation', options, GENERATION_OPTIONS);
  const { padTokenId, decoderStartTokenId } = text;
  const given: Partial<Record<string, unknown>> = {
    ...options,
    ...(options.badWords && { badWords: wordIds(options.badWords, tokenizer) }),
  };
  const saved: Partial<Record<string, unknown>> = {
    ...GENERATION_DEFAULTS,
    ...{ eosTokenIds: [text.eosTokenId], padTokenId, decoderStartTokenId },
    ...checkpoint,
  };
  const settings = Object.fromEntries(
    Object.entries(SETTINGS).map(([name, { allows, expected }]) => {
      const value = given[name] ?? (given[name] === null ? null : saved[name]);
      if (allows(value) && inVocabulary(name, value, text.vocabSize)) return [name, value];
      const complaint = `${name} must be ${expected}, not ${show(value)}.`;
      throw given[name] === undefined
        ? new Florence2Error(`generation_config.json: ${complaint}`)
        : new UsageError(complaint);
    }),
  ) as unknown as GenerationSettings;
  return {
    ...settings,
    maxNewTokens: Math.min(settings.maxNewTokens, text.maxPositionEmbeddings),
    numReturnSequences: checkNumber(settings, options.numReturnSequences !== undefined),
  };
}

/**
 * Returns the number of sequences that are decoded for each request: its beams, or its samples.
 */
export const rowsPerItem = ({ numBeams, numReturnSequences }: GenerationSettings): number =>
  Math.max(numBeams, numReturnSequences);

/** Returns `numReturnSequences`; that of the checkpoint is limited to the answers there are. */
function checkNumber({ numBeams, numReturnSequences, doSample }: GenerationSettings, isOption: boolean): number {
  if (numReturnSequences <= numBeams || (doSample && numBeams === 1)) return numReturnSequences;
  if (!isOption) return numBeams;
  throw new UsageError(
    `numReturnSequences is ${numReturnSequences}, but must not exceed numBeams (${numBeams}). Raise numBeams, or set doSample with numBeams 1.`,
  );
}

/** Whether the token ids of a setting are in the vocabulary. */
function inVocabulary(name: string, value: unknown, vocabSize: number): boolean {
  if (!/TokenIds?$|^badWords$/.test(name)) return true;
  return [value].flat(2).every(id => id === null || (id as number) < vocabSize);
}

/** Returns words as token ids: a text as it begins a text, and as it follows a space. */
function wordIds(words: NonNullable<GenerationOptions['badWords']>, tokenizer?: Pick<Tokenizer, 'encode'>) {
  return words.flatMap(word => {
    if (typeof word !== 'string') return [Array.from(word)];
    if (!tokenizer) throw new UsageError('badWords are given as token ids here, not as texts.');
    return [word.trim(), ` ${word.trim()}`].map(text => tokenizer.encode(text, { addSpecialTokens: false }));
  });
}
