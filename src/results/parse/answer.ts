import { UsageError } from '../../errors.ts';
import type { Span, Tokenizer } from '../../text/tokenizer.ts';

/**
 * A model's answer before it is parsed: its text or its tokens. Only tokens with log-probabilities give results scores.
 */
export type Answer = string | AnswerTokens;

/** The tokens of an answer, with or without `<s>`, `</s>` and `<pad>`. */
export interface AnswerTokens {
  /** Token ids, [T]. */
  ids: ArrayLike<number>;
  /** Natural log-probability of each id, [T]; or [T - 1] if the first id is the decoder's start token. */
  logProbs?: ArrayLike<number>;
  /** `nearbyProbs` of a `GeneratedSequence`, as many as `logProbs`. Without them results have no confidence. */
  nearbyProbs?: ArrayLike<number>;
  /** The tokenizer of the model that generated the ids. */
  tokenizer: Tokenizer;
}

/** An answer without `<s>`, `</s>` and `<pad>`, and with the position of each token if it is known. */
export interface AnswerText {
  readonly text: string;
  /** The probability of the whole answer, including `</s>`; undefined if it is unknown. */
  readonly probability: number | undefined;
  /**
   * Returns the geometric mean of the probabilities of the tokens in these spans of the text, or undefined if it is
   * unknown.
   */
  score(spans: readonly Span[]): number | undefined;
  /**
   * Returns the probability of the words times the geometric mean of the probabilities near the locations, or undefined
   * if it is unknown.
   */
  confidence(words: readonly Span[], locations: readonly Span[]): number | undefined;
}

/** Returns the text to parse. @throws UsageError if ids and probabilities differ in number */
export function readAnswer(answer: Answer): AnswerText {
  const unknown = { probability: undefined, score: () => undefined, confidence: () => undefined };
  if (typeof answer === 'string') return { text: answer.replace(/<s>|<\/s>|<pad>/g, ''), ...unknown };
  const { ids, tokenizer } = answer;
  const logProbs = perId(ids, answer.logProbs);
  const nearby = perId(ids, answer.nearbyProbs)?.map(Math.log);
  const kept = [...Array(ids.length).keys()].filter(i => !tokenizer.isFrame(ids[i]));
  const { text, spans } = tokenizer.decodeWithSpans(kept.map(i => ids[i]));
  if (!logProbs) return { text, ...unknown };
  const tokensIn = (wanted: readonly Span[]): number[] =>
    kept.filter((_, position) => wanted.some(span => overlaps(span, spans[position])));
  return {
    text,
    probability: Math.exp(sum(logProbs)),
    score(wanted) {
      const inside = tokensIn(wanted).map(i => logProbs[i]);
      return inside.length > 0 ? Math.exp(sum(inside) / inside.length) : undefined;
    },
    confidence(words, locations) {
      if (!nearby) return undefined;
      const [label, coordinates] = [tokensIn(words), tokensIn(locations)].map(inside => inside.map(i => nearby[i]));
      return coordinates.length > 0 ? Math.exp(sum(label) + sum(coordinates) / coordinates.length) : undefined;
    },
  };
}

/** Returns one value for each id; the decoder's start token, for which there may be none, gets 0. */
function perId(ids: ArrayLike<number>, values: ArrayLike<number> | undefined): number[] | undefined {
  if (!values || values.length === ids.length) return values && Array.from(values);
  if (values.length === ids.length - 1) return [0, ...Array.from(values)];
  throw new UsageError(`An answer of ${ids.length} ids has ${values.length} log-probabilities: give one for each id.`);
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const overlaps = (a: Span, b: Span): boolean => a[0] < b[1] && b[0] < a[1];
