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
  /** The tokenizer of the model that generated the ids. */
  tokenizer: Tokenizer;
}

/** An answer without `<s>`, `</s>` and `<pad>`, and with the position of each token if it is known. */
export interface AnswerText {
  readonly text: string;
  /**
   * Returns exp of the mean log-probability of the tokens in these spans of the text, or undefined if it is unknown.
   */
  score(spans: readonly Span[]): number | undefined;
}

/** Returns the text to parse. @throws UsageError if ids and log-probabilities differ in number */
export function readAnswer(answer: Answer): AnswerText {
  if (typeof answer === 'string') return { text: answer.replace(/<s>|<\/s>|<pad>/g, ''), score: () => undefined };
  const { tokenizer } = answer;
  const logProbOf = logProbs(answer);
  const kept = Array.from(answer.ids, (id, i) => ({ id, logProb: logProbOf?.(i) })).filter(
    ({ id }) => !tokenizer.isFrame(id),
  );
  const { text, spans } = tokenizer.decodeWithSpans(kept.map(({ id }) => id));
  if (!logProbOf) return { text, score: () => undefined };
  return {
    text,
    score(wanted) {
      const inside = kept.filter((_, i) => wanted.some(span => overlaps(span, spans[i])));
      const sum = inside.reduce((total, { logProb }) => total + logProb!, 0);
      return inside.length > 0 ? Math.exp(sum / inside.length) : undefined;
    },
  };
}

/** Returns the log-probability by index of the id. */
function logProbs({ ids, logProbs }: AnswerTokens): ((i: number) => number) | undefined {
  if (!logProbs) return undefined;
  const start = ids.length - logProbs.length; // the decoder's start token has no log-probability
  if (start === 0 || start === 1) return i => logProbs[i - start];
  throw new UsageError(
    `An answer of ${ids.length} ids has ${logProbs.length} log-probabilities: give one for each id.`,
  );
}

const overlaps = (a: Span, b: Span): boolean => a[0] < b[1] && b[0] < a[1];
