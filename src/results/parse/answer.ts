import { UsageError } from '../../errors.ts';
import type { Span, Tokenizer } from '../../text/tokenizer.ts';

/** What the model generated: its text, or the tokens, which also give scores where their log-probabilities come along. */
export type Answer = string | AnswerTokens;

export interface AnswerTokens {
  ids: ArrayLike<number>;
  /** Natural log-probability of each id, or of each but the first where that is the decoder's start token. */
  logProbs?: ArrayLike<number>;
  tokenizer: Tokenizer;
}

/** An answer ready to be parsed: without `<s>`, `</s>` and `<pad>`, and with each token's place if it is known. */
export interface AnswerText {
  readonly text: string;
  /** exp of the mean log-probability of the tokens in these spans of the text; undefined where nothing is known. */
  score(spans: readonly Span[]): number | undefined;
}

export function readAnswer(answer: Answer): AnswerText {
  if (typeof answer === 'string') return { text: answer.replace(/<s>|<\/s>|<pad>/g, ''), score: () => undefined };
  const { tokenizer } = answer;
  const dropped = new Set([tokenizer.bosTokenId, tokenizer.eosTokenId, tokenizer.padTokenId]);
  const logProbOf = logProbs(answer);
  const kept = Array.from(answer.ids, (id, i) => ({ id, logProb: logProbOf?.(i) })).filter(
    ({ id }) => !dropped.has(id),
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

function logProbs({ ids, logProbs }: AnswerTokens): ((i: number) => number) | undefined {
  if (!logProbs) return undefined;
  const start = ids.length - logProbs.length; // the decoder's start token was not generated and has none
  if (start === 0 || start === 1) return i => logProbs[i - start];
  throw new UsageError(
    `An answer of ${ids.length} ids has ${logProbs.length} log-probabilities: it needs one for each.`,
  );
}

const overlaps = (a: Span, b: Span): boolean => a[0] < b[1] && b[0] < a[1];
