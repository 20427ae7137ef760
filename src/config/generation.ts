import { Fields, isRecord } from '../json.ts';
import { show } from '../show.ts';

/** Settings of generation_config.json. Fields that the file does not set are absent: see generation/options.ts. */
export interface GenerationConfig {
  /** Number of beams; 1 is greedy search. */
  readonly numBeams?: number;
  /** Longest answer in tokens, without the start token. */
  readonly maxNewTokens?: number;
  /** Shortest answer in tokens, without the start token. */
  readonly minNewTokens?: number;
  /** When beam search ends, as in transformers: true ends it as soon as numBeams answers are complete. */
  readonly earlyStopping?: boolean | 'never';
  /** The score of a beam is divided by its length to this power. */
  readonly lengthPenalty?: number;
  /** No sequence of this many tokens occurs twice in an answer; 0 allows all. */
  readonly noRepeatNgramSize?: number;
  /** Divides the scores of tokens that have occurred; 1 changes nothing. */
  readonly repetitionPenalty?: number;
  /** Sequences of token ids that no answer contains. */
  readonly badWords?: readonly (readonly number[])[];
  /** Whether tokens are drawn at random. */
  readonly doSample?: boolean;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  /** First token of every answer; null if none is forced. */
  readonly forcedBosTokenId?: number | null;
  /** Last token of an answer that reaches the token limit; null if none is forced. */
  readonly forcedEosTokenId?: number | null;
  /** Number of answers to each prompt. */
  readonly numReturnSequences?: number;
  /** First input of the decoder. */
  readonly decoderStartTokenId?: number;
  readonly bosTokenId?: number;
  /** The tokens that end an answer. */
  readonly eosTokenIds?: readonly number[];
  readonly padTokenId?: number;
}

/** Largest number of beams and of answers to a prompt: each needs a row of the decoder's caches. */
export const MAX_ROWS = 1024;

/** Largest number of end tokens: a beam search compares as many extensions of each beam. */
const MAX_ENDS = 100;

/** Largest number of bad words: each is compared with the sequence at every step. */
const MAX_BAD_WORDS = 10_000;

/** Settings that would change the answers and are not supported, each with the values that have no effect. */
const unsupported: Record<string, unknown[]> = {
  encoder_repetition_penalty: [1],
  encoder_no_repeat_ngram_size: [0],
  diversity_penalty: [0],
  num_beam_groups: [1],
  penalty_alpha: [0],
  guidance_scale: [1],
  renormalize_logits: [false],
  token_healing: [false],
  suppress_tokens: [[]],
  begin_suppress_tokens: [[]],
  constraints: [[]],
  force_words_ids: [[]],
  sequence_bias: [[], {}],
  stop_strings: [[], ''],
  exponential_decay_length_penalty: [[]],
  watermarking_config: [{}],
  dola_layers: [],
  max_time: [],
};

/** The same for settings that matter only to sampling. */
const unsupportedInSampling: Record<string, unknown[]> = {
  typical_p: [1],
  epsilon_cutoff: [0],
  eta_cutoff: [0],
  top_h: [],
};

/** Settings of transformers that do not change the answers. */
const withoutEffect = [
  ...['use_cache', 'cache_implementation', 'cache_config', 'max_cache_len', 'low_memory', 'prefill_chunk_size'],
  ...['output_attentions', 'output_hidden_states', 'output_scores', 'output_logits', 'return_dict_in_generate'],
  ...['remove_invalid_values', 'return_legacy_cache', 'use_mtp', 'compile_config', 'disable_compile'],
  ...['is_assistant', 'num_assistant_tokens', 'num_assistant_tokens_schedule', 'assistant_confidence_threshold'],
  ...['assistant_early_exit', 'assistant_lookbehind', 'assistant_ensemble_weight', 'target_lookbehind'],
  ...['prompt_lookup_num_tokens', 'max_matching_ngram_size', 'speculation_type', 'continuous_batching_config'],
  ...['transformers_version', '_from_model_config', '_commit_hash'],
];

const supported = [
  ...['num_beams', 'max_new_tokens', 'max_length', 'min_new_tokens', 'min_length', 'early_stopping', 'length_penalty'],
  ...[
    'no_repeat_ngram_size',
    'repetition_penalty',
    'bad_words_ids',
    'do_sample',
    'temperature',
    'top_k',
    'top_p',
    'min_p',
  ],
  ...['forced_bos_token_id', 'forced_eos_token_id', 'num_return_sequences', 'decoder_start_token_id', 'bos_token_id'],
  ...['eos_token_id', 'pad_token_id'],
];

const known = new Set([
  ...[supported, withoutEffect, Object.keys(unsupported), Object.keys(unsupportedInSampling)].flat(),
]);

/**
 * Parses generation_config.json.
 *
 * @param warn receives one message about the settings that are not known, if there are any
 * @throws Florence2Error naming the file, the field and what was expected
 */
export function parseGenerationConfig(
  json: unknown,
  file = 'generation_config.json',
  warn: (message: string) => void = console.warn,
): GenerationConfig {
  const values = isRecord(json) ? json : {};
  const f = new Fields(values, file);
  const doSample = f.has('do_sample') ? f.boolean('do_sample') : undefined;
  for (const [name, harmless] of Object.entries({ ...unsupported, ...(doSample && unsupportedInSampling) })) {
    f.only(name, harmless, 'this package does not implement it');
  }
  const unknown = Object.keys(values).filter(name => !known.has(name));
  if (unknown.length > 0) warn(`${file}: these settings are not known and are ignored: ${listed(unknown)}.`);
  const integer = (name: string, least: number) => (f.has(name) ? f.integer(name, least) : undefined);
  const rows = (name: string) => {
    const value = integer(name, 1);
    return value === undefined || value <= MAX_ROWS ? value : f.fail(name, `is ${value}, the limit is ${MAX_ROWS}`);
  };
  const forced = (name: string) => (f.isNull(name) ? null : integer(name, 0));
  /** Reads a setting that has no effect without sampling: then a wrong value is ignored. */
  const sampling = (name: string, allowed: (value: number) => boolean, expected: string) => {
    const value = f.raw(name);
    if (value === undefined || (Number.isFinite(value) && allowed(value as number))) return value as number | undefined;
    return doSample ? f.fail(name, `is ${show(value)}, expected ${expected}`) : undefined;
  };
  const share = (name: string) => sampling(name, value => value >= 0 && value <= 1, 'a number from 0 to 1');
  const settings = {
    numBeams: rows('num_beams'),
    maxNewTokens: integer('max_new_tokens', 1) ?? fromMaxLength(integer('max_length', 2)),
    minNewTokens: integer('min_new_tokens', 0) ?? fromMinLength(integer('min_length', 0)),
    earlyStopping: f.has('early_stopping') ? earlyStopping(f) : undefined,
    lengthPenalty: f.has('length_penalty') ? f.number('length_penalty') : undefined,
    noRepeatNgramSize: integer('no_repeat_ngram_size', 0),
    repetitionPenalty: repetitionPenalty(f),
    badWords: badWords(f),
    doSample,
    temperature: sampling('temperature', value => value > 0, 'a number above 0'),
    topK: sampling('top_k', value => Number.isSafeInteger(value) && value >= 0, 'a whole number of at least 0'),
    topP: share('top_p'),
    minP: share('min_p'),
    forcedBosTokenId: forced('forced_bos_token_id'),
    forcedEosTokenId: forced('forced_eos_token_id'),
    numReturnSequences: rows('num_return_sequences'),
    decoderStartTokenId: integer('decoder_start_token_id', 0),
    bosTokenId: integer('bos_token_id', 0),
    eosTokenIds: endTokens(f),
    padTokenId: integer('pad_token_id', 0),
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** max_length includes the start token. transformers writes 20 if no length was set. */
function fromMaxLength(maxLength: number | undefined): number | undefined {
  return maxLength === undefined || maxLength === 20 ? undefined : maxLength - 1;
}

/** min_length includes the start token, too. */
const fromMinLength = (minLength: number | undefined): number | undefined =>
  minLength === undefined || minLength === 0 ? undefined : minLength - 1;

function earlyStopping(f: Fields): boolean | 'never' {
  const value = f.raw('early_stopping');
  if (typeof value === 'boolean' || value === 'never') return value;
  return f.fail('early_stopping', `is ${show(value)}, expected true, false or "never"`);
}

function repetitionPenalty(f: Fields): number | undefined {
  const value = f.has('repetition_penalty') ? f.number('repetition_penalty') : undefined;
  return value === undefined || value > 0
    ? value
    : f.fail('repetition_penalty', `is ${value}, expected a number above 0`);
}

/** One end token, or a list of them. */
function endTokens(f: Fields): number[] | undefined {
  if (!f.has('eos_token_id')) return undefined;
  if (!Array.isArray(f.raw('eos_token_id'))) return [f.integer('eos_token_id', 0)];
  const tokens = [...new Set(f.integers('eos_token_id', 0))];
  return tokens.length <= MAX_ENDS
    ? tokens
    : f.fail('eos_token_id', `has ${tokens.length} tokens, the limit is ${MAX_ENDS}`);
}

function badWords(f: Fields): number[][] | undefined {
  const value = f.raw('bad_words_ids');
  if (value === undefined) return undefined;
  const isWord = (word: unknown) =>
    Array.isArray(word) && word.length > 0 && word.every(id => Number.isSafeInteger(id) && id >= 0);
  if (Array.isArray(value) && value.length > MAX_BAD_WORDS) {
    return f.fail('bad_words_ids', `has ${value.length} words, the limit is ${MAX_BAD_WORDS}`);
  }
  if (Array.isArray(value) && value.every(isWord)) return value;
  return f.fail('bad_words_ids', `is ${show(value)}, expected a list of lists of token ids`);
}

/** Returns names for a message, at most five of them. */
function listed(names: readonly string[]): string {
  const shown = names.slice(0, 5).map(name => (/^\w+$/.test(name) && name.length <= 60 ? name : show(name)));
  return names.length > 5 ? `${shown.join(', ')} and ${names.length - 5} others` : shown.join(', ');
}
