import { Fields, isRecord, show } from '../json.ts';

/** Settings of generation_config.json. Fields that the file does not set are absent: see generation/options.ts. */
export interface GenerationConfig {
  /** Number of beams; 1 is greedy search. */
  readonly numBeams?: number;
  /** Longest answer in tokens, without the start token. */
  readonly maxNewTokens?: number;
  /** When beam search ends, as in transformers: true ends it as soon as numBeams answers are complete. */
  readonly earlyStopping?: boolean | 'never';
  /** The score of a beam is divided by its length to this power. */
  readonly lengthPenalty?: number;
  /** No sequence of this many tokens occurs twice in an answer; 0 allows all. */
  readonly noRepeatNgramSize?: number;
  /** First token of every answer; null if none is forced. */
  readonly forcedBosTokenId?: number | null;
  /** Last token of an answer that reaches the token limit; null if none is forced. */
  readonly forcedEosTokenId?: number | null;
  /** Number of answers to each prompt. */
  readonly numReturnSequences?: number;
  /** First input of the decoder. */
  readonly decoderStartTokenId?: number;
  readonly bosTokenId?: number;
  readonly eosTokenId?: number;
  readonly padTokenId?: number;
}

/** Settings that would change the answers and are not supported, each with the values that have no effect. */
const withoutEffect: Record<string, unknown[]> = {
  do_sample: [false],
  repetition_penalty: [1],
  encoder_repetition_penalty: [1],
  diversity_penalty: [0],
  num_beam_groups: [1],
  min_length: [0],
  min_new_tokens: [0],
  encoder_no_repeat_ngram_size: [0],
  bad_words_ids: [[]],
  suppress_tokens: [[]],
  begin_suppress_tokens: [[]],
};

/**
 * Parses generation_config.json.
 *
 * @throws Florence2Error naming the file, the field and what was expected
 */
export function parseGenerationConfig(json: unknown, file = 'generation_config.json'): GenerationConfig {
  const f = new Fields(isRecord(json) ? json : {}, file);
  for (const [name, values] of Object.entries(withoutEffect)) {
    f.only(name, values, 'greedy and beam search do not implement it');
  }
  const integer = (name: string, least: number) => (f.has(name) ? f.integer(name, least) : undefined);
  const forced = (name: string) => (f.isNull(name) ? null : integer(name, 0));
  const settings = {
    numBeams: integer('num_beams', 1),
    maxNewTokens: integer('max_new_tokens', 1) ?? fromMaxLength(integer('max_length', 2)),
    earlyStopping: f.has('early_stopping') ? earlyStopping(f) : undefined,
    lengthPenalty: f.has('length_penalty') ? f.number('length_penalty') : undefined,
    noRepeatNgramSize: integer('no_repeat_ngram_size', 0),
    forcedBosTokenId: forced('forced_bos_token_id'),
    forcedEosTokenId: forced('forced_eos_token_id'),
    numReturnSequences: integer('num_return_sequences', 1),
    decoderStartTokenId: integer('decoder_start_token_id', 0),
    bosTokenId: integer('bos_token_id', 0),
    eosTokenId: endToken(f),
    padTokenId: integer('pad_token_id', 0),
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** max_length includes the start token. transformers writes 20 if no length was set. */
function fromMaxLength(maxLength: number | undefined): number | undefined {
  return maxLength === undefined || maxLength === 20 ? undefined : maxLength - 1;
}

function earlyStopping(f: Fields): boolean | 'never' {
  const value = f.raw('early_stopping');
  if (typeof value === 'boolean' || value === 'never') return value;
  return f.fail('early_stopping', `is ${show(value)}, expected true, false or "never"`);
}

/** transformers also takes a list of end tokens; Florence-2 has one. */
function endToken(f: Fields): number | undefined {
  const value = f.raw('eos_token_id');
  if (Array.isArray(value) && value.length === 1 && Number.isSafeInteger(value[0]) && value[0] >= 0) return value[0];
  return f.has('eos_token_id') ? f.integer('eos_token_id', 0) : undefined;
}
