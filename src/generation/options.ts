import type { GenerationConfig } from '../config/generation.ts';
import type { TextConfig } from '../config/model.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import { checkOptions, count, display, finite, type Kind, type OptionTable, oneOf, onOff, whole } from '../options.ts';
import type { LocationTokens } from '../text/locations.ts';

/**
 * Options of a generation. Defaults come from the checkpoint's generation_config.json; the defaults below apply where
 * it has none. Names and meanings are those of transformers' GenerationConfig.
 */
export interface GenerationOptions {
  /** Number of beams of the beam search; 1 is greedy decoding. Default 3. */
  numBeams?: number;
  /** Largest number of generated tokens, including `</s>`; limited to the decoder's positions. Default 1024. */
  maxNewTokens?: number;
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
  /** Forces the first generated token; null: the model chooses it. Default 0, `<s>`. */
  forcedBosTokenId?: number | null;
  /** Forces the last token when `maxNewTokens` is reached; null: the model chooses it. Default 2, `</s>`. */
  forcedEosTokenId?: number | null;
  /** Number of answers returned, best first; at most `numBeams`. Default 1. */
  numReturnSequences?: number;
  /** Caches the keys and values of earlier tokens. false: the same answer, slower. Default true. */
  useCache?: boolean;
}

/** All settings of a generation, checked. */
export interface GenerationSettings extends Required<GenerationOptions> {
  readonly decoderStartTokenId: number;
  readonly eosTokenId: number;
  readonly padTokenId: number;
  /** The location tokens, whose neighbours count for `nearbyProbs`. Default: none. */
  readonly locations?: LocationTokens;
}

/** Florence-2's defaults: its generation_config.json, with `max_new_tokens` of the model card. */
export const GENERATION_DEFAULTS: Readonly<Required<GenerationOptions>> = {
  numBeams: 3,
  maxNewTokens: 1024,
  earlyStopping: true,
  lengthPenalty: 1,
  noRepeatNgramSize: 3,
  forcedBosTokenId: 0,
  forcedEosTokenId: 2,
  numReturnSequences: 1,
  useCache: true,
};

const token: Kind = { ...whole, expected: 'a token id of the vocabulary' };
const tokenOrNull: Kind = { expected: `${token.expected}, or null`, allows: id => id === null || token.allows(id) };

/** The kinds of the generation options. */
export const GENERATION_OPTIONS: OptionTable<GenerationOptions> = {
  numBeams: count,
  maxNewTokens: count,
  earlyStopping: oneOf(true, false, 'never'),
  lengthPenalty: finite,
  noRepeatNgramSize: { ...whole, expected: 'a whole number, 0 for no limit' },
  forcedBosTokenId: tokenOrNull,
  forcedEosTokenId: tokenOrNull,
  numReturnSequences: count,
  useCache: onOff,
};

type CheckedSetting = Exclude<keyof GenerationSettings, 'locations'>;

const SETTINGS: OptionTable<Pick<GenerationSettings, CheckedSetting>> = {
  ...GENERATION_OPTIONS,
  ...{ decoderStartTokenId: token, eosTokenId: token, padTokenId: token },
};

/**
 * Returns the settings of a generation: the call's options, then the checkpoint's, then Florence-2's defaults.
 *
 * @param checkpoint contents of generation_config.json
 * @param text config of the language model: its vocabulary, number of positions and default special tokens
 * @throws UsageError for a wrong option, Florence2Error for a wrong value in generation_config.json
 */
export function resolveGeneration(
  options: GenerationOptions,
  checkpoint: GenerationConfig,
  text: TextConfig,
): GenerationSettings {
  checkOptions('The generation', options, GENERATION_OPTIONS);
  const { eosTokenId, padTokenId, decoderStartTokenId } = text;
  const saved: Partial<GenerationSettings> = { eosTokenId, padTokenId, decoderStartTokenId, ...checkpoint };
  const setting = <K extends CheckedSetting>(name: K): GenerationSettings[K] => {
    const given = (options as Partial<GenerationSettings>)[name];
    const value = [given, saved[name], GENERATION_DEFAULTS[name as keyof GenerationOptions]].find(v => v !== undefined);
    const { allows, expected } = SETTINGS[name];
    const inVocabulary =
      !name.endsWith('TokenId') || (value as number | null) === null || Number(value) < text.vocabSize;
    if (allows(value) && inVocabulary) return value as GenerationSettings[K];
    const complaint = `${name} must be ${expected}, not ${display(value)}.`;
    throw given === undefined ? new Florence2Error(`generation_config.json: ${complaint}`) : new UsageError(complaint);
  };
  const numBeams = setting('numBeams');
  const numReturnSequences = setting('numReturnSequences');
  if (numReturnSequences > numBeams && options.numReturnSequences !== undefined) {
    throw new UsageError(
      `numReturnSequences is ${numReturnSequences}, but must not exceed numBeams (${numBeams}). Raise numBeams.`,
    );
  }
  return {
    numBeams,
    maxNewTokens: Math.min(setting('maxNewTokens'), text.maxPositionEmbeddings),
    earlyStopping: setting('earlyStopping'),
    lengthPenalty: setting('lengthPenalty'),
    noRepeatNgramSize: setting('noRepeatNgramSize'),
    forcedBosTokenId: setting('forcedBosTokenId'),
    forcedEosTokenId: setting('forcedEosTokenId'),
    numReturnSequences: Math.min(numReturnSequences, numBeams),
    useCache: setting('useCache'),
    decoderStartTokenId: setting('decoderStartTokenId'),
    eosTokenId: setting('eosTokenId'),
    padTokenId: setting('padTokenId'),
  };
}
