import type { Constraint } from './constraint.ts';
import { NgramBlock } from './ngram_block.ts';
import type { GenerationSettings } from './options.ts';

/**
 * Returns the forced next token, or undefined if the model chooses. If the first token is also the last,
 * `forcedEosTokenId` takes precedence.
 *
 * @param generated number of tokens generated so far, without the decoder start token
 */
export function forcedToken(settings: GenerationSettings, generated: number): number | undefined {
  const { maxNewTokens, forcedBosTokenId, forcedEosTokenId } = settings;
  if (generated === maxNewTokens - 1 && forcedEosTokenId !== null) return forcedEosTokenId;
  if (generated === 0 && forcedBosTokenId !== null) return forcedBosTokenId;
  return undefined;
}

/**
 * transformers' logits processors for one sequence, in their order: repetition penalty, n-gram block, bad words, minimum
 * length, constraint. They see the whole sequence, including the decoder start token.
 */
export class Processors {
  private constructor(
    private readonly settings: GenerationSettings,
    private readonly tokens: number[],
    private readonly ngrams: NgramBlock,
    private constraint: Constraint | null,
  ) {}

  /** @param item index in the batch */
  static of(settings: GenerationSettings, item = 0): Processors {
    const { noRepeatNgramSize, decoderStartTokenId, constraints } = settings;
    const ngrams = NgramBlock.of(noRepeatNgramSize, decoderStartTokenId);
    return new Processors(settings, [decoderStartTokenId], ngrams, constraints?.[item] ?? null);
  }

  /** Whether scores change otherwise than by `banned`, so that the whole row of logits is needed. */
  get changesScores(): boolean {
    return this.settings.repetitionPenalty !== 1 || this.settings.doSample || this.constraint !== null;
  }

  append(token: number): void {
    this.tokens.push(token);
    this.ngrams.append(token);
    this.constraint = this.constraint?.after(token) ?? null;
  }

  /** Returns an independent copy, for a beam with several extensions. */
  fork(): Processors {
    return new Processors(this.settings, [...this.tokens], this.ngrams.fork(), this.constraint);
  }

  /** Returns the banned next tokens. */
  banned(): number[] {
    const { badWords, minNewTokens, eosTokenIds } = this.settings;
    const banned = this.ngrams.banned();
    for (const word of badWords) if (this.completes(word)) banned.push(word.at(-1)!);
    if (this.tokens.length - 1 < minNewTokens) banned.push(...eosTokenIds);
    return banned;
  }

  /**
   * Processes the scores of the next token [V] in place; banned tokens get -Infinity. Where only banned tokens would keep
   * the answer well-formed, they are allowed.
   */
  process(scores: Float32Array): void {
    const { repetitionPenalty, maxNewTokens } = this.settings;
    if (repetitionPenalty !== 1) {
      for (const token of new Set(this.tokens)) {
        const score = scores[token];
        scores[token] = score < 0 ? score * repetitionPenalty : score / repetitionPenalty;
      }
    }
    this.constraint?.restrict(scores, maxNewTokens - (this.tokens.length - 1));
    const formed = this.constraint && scores.slice();
    for (const token of this.banned()) scores[token] = -Infinity;
    if (formed && scores.every(score => score === -Infinity)) scores.set(formed);
  }

  /** Whether the sequence ends with all but the last token of a word. An end token by itself is not a word. */
  private completes(word: readonly number[]): boolean {
    const before = word.length - 1;
    if (before === 0) return !this.settings.eosTokenIds.includes(word[0]);
    const start = this.tokens.length - before;
    return start >= 0 && word.every((token, i) => i === before || token === this.tokens[start + i]);
  }
}
