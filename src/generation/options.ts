import type { GenerationConfig } from '../config/generation.ts';
import type { TextConfig } from '../config/model.ts';
import { Florence2Error, UsageError } from '../errors.ts';

/**
 * How an answer is generated. What is left out comes from the checkpoint's generation_config.json, and what that
 * leaves out is Florence-2's own. Names and meanings are those of transformers' GenerationConfig.
 */
export interface GenerationOptions {
  /** Beams of the beam search; 1 is greedy. Default 3. */
  numBeams?: number;
  /** Most tokens to generate, `</s>` included. Default 1024; never more than the decoder has positions for. */
  maxNewTokens?: number;
  /**
   * When the beam search stops: `true` at the first `numBeams` answers, `false` when the best beam as it stands would
   * not beat the worst of them, `'never'` only when no beam could. Default true.
   */
  earlyStopping?: boolean | 'never';
  /** Scores are divided by length ** lengthPenalty: above 0 favours long answers, below 0 short ones. Default 1. */
  lengthPenalty?: number;
  /** No run of this many tokens occurs twice in an answer; 0 allows any. Default 3. */
  noRepeatNgramSize?: number;
  /** The first generated token, whatever the model says; null leaves it to the model. Default 0, `<s>`. */
  forcedBosTokenId?: number | null;
  /** The token at the limit of `maxNewTokens`; null leaves it to the model. Default 2, `</s>`. */
  forcedEosTokenId?: number | null;
  /** How many of the beams' answers are returned, best first; at most `numBeams`. Default 1. */
  numReturnSequences?: number;
  /** Keep the keys and values of past tokens. False gives the same answer, slower. Default true. */
  useCache?: boolean;
}

/** Every setting of a generation, checked. */
export interface GenerationSettings extends Required<GenerationOptions> {
  readonly decoderStartTokenId: number;
  readonly eosTokenId: number;
  readonly padTokenId: number;
}

/** Florence-2's own settings: its generation_config.json, and the model card's `max_new_tokens`. */
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

/** What a setting may be: a test, and the end of the sentence "numBeams must be …". */
type Rule = [allowed: (value: unknown, text: TextConfig) => boolean, expected: string];

const wholeFrom = (least: number) => (value: unknown) => Number.isSafeInteger(value) && (value as number) >= least;
const isToken = (value: unknown, { vocabSize }: TextConfig) => wholeFrom(0)(value) && (value as number) < vocabSize;

const count: Rule = [wholeFrom(1), 'a whole number, at least 1'];
const token: Rule = [isToken, 'a token id of the vocabulary'];
const tokenOrNull: Rule = [(value, text) => value === null || isToken(value, text), `${token[1]}, or null`];

const RULES: Record<keyof GenerationSettings, Rule> = {
  numBeams: count,
  maxNewTokens: count,
  earlyStopping: [value => typeof value === 'boolean' || value === 'never', "true, false or 'never'"],
  lengthPenalty: [value => Number.isFinite(value), 'a finite number'],
  noRepeatNgramSize: [wholeFrom(0), 'a whole number, 0 for no limit'],
  forcedBosTokenId: tokenOrNull,
  forcedEosTokenId: tokenOrNull,
  numReturnSequences: count,
  useCache: [value => typeof value === 'boolean', 'true or false'],
  decoderStartTokenId: token,
  eosTokenId: token,
  padTokenId: token,
};

/**
 * The settings of one generation: the call's options before the checkpoint's before Florence-2's own.
 *
 * @param checkpoint generation_config.json
 * @param text the language model: its vocabulary, positions, and special tokens where the checkpoint names none
 * @throws UsageError that names the option, Florence2Error where the checkpoint's own value is wrong
 */
export function resolveGeneration(
  options: GenerationOptions,
  checkpoint: GenerationConfig,
  text: TextConfig,
): GenerationSettings {
  const { eosTokenId, padTokenId, decoderStartTokenId } = text;
  const saved: Partial<GenerationSettings> = { eosTokenId, padTokenId, decoderStartTokenId, ...checkpoint };
  const setting = <K extends keyof GenerationSettings>(name: K): GenerationSettings[K] => {
    const asked = (options as Partial<GenerationSettings>)[name];
    const value = [asked, saved[name], GENERATION_DEFAULTS[name as keyof GenerationOptions]].find(v => v !== undefined);
    const [allowed, expected] = RULES[name];
    if (allowed(value, text)) return value as GenerationSettings[K];
    const shown = typeof value === 'string' ? `'${value}'` : String(value);
    const complaint = `${name} must be ${expected}, not ${shown}.`;
    throw asked === undefined ? new Florence2Error(`generation_config.json: ${complaint}`) : new UsageError(complaint);
  };
  const numBeams = setting('numBeams');
  const numReturnSequences = setting('numReturnSequences');
  if (numReturnSequences > numBeams && options.numReturnSequences !== undefined) {
    throw new UsageError(
      `numReturnSequences is ${numReturnSequences}, but there are only as many answers as beams: raise numBeams (${numBeams}).`,
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
