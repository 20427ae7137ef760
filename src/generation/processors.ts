import type { GenerationSettings } from './options.ts';

/**
 * The token that must come next, whatever the model says, or undefined where the model is free.
 * The end is forced at the limit even where that is the first token, too.
 *
 * @param generated how many tokens have been generated, the decoder start token not counted
 */
export function forcedToken(settings: GenerationSettings, generated: number): number | undefined {
  const { maxNewTokens, forcedBosTokenId, forcedEosTokenId } = settings;
  if (generated === maxNewTokens - 1 && forcedEosTokenId !== null) return forcedEosTokenId;
  if (generated === 0 && forcedBosTokenId !== null) return forcedBosTokenId;
  return undefined;
}

/** One follower of a prefix, and those before it. Never changed, so that forks may share it. */
interface Follower {
  readonly token: number;
  readonly earlier: Follower | undefined;
}

/**
 * Keeps any run of `size` tokens from occurring twice in one sequence, the decoder start token included: remembers
 * what followed each run of `size - 1` tokens, so that a step costs the same however long the sequence is. 0: no limit.
 */
export class NgramBlock {
  private constructor(
    private readonly size: number,
    /** The last `size - 1` tokens. */
    private readonly tail: number[],
    private readonly followers: Map<string, Follower>,
  ) {}

  static of(size: number, startToken: number): NgramBlock {
    const block = new NgramBlock(size, [], new Map());
    block.append(startToken);
    return block;
  }

  append(token: number): void {
    if (this.size === 0) return;
    if (this.tail.length === this.size - 1) {
      const prefix = this.tail.join(' ');
      this.followers.set(prefix, { token, earlier: this.followers.get(prefix) });
    }
    this.tail.push(token);
    if (this.tail.length >= this.size) this.tail.shift();
  }

  /** Tokens that would repeat a run if they came next. */
  banned(): number[] {
    const tokens: number[] = [];
    if (this.size === 0 || this.tail.length < this.size - 1) return tokens;
    for (let f = this.followers.get(this.tail.join(' ')); f; f = f.earlier) tokens.push(f.token);
    return tokens;
  }

  /** A copy that goes its own way, for a beam that splits. */
  fork(): NgramBlock {
    return new NgramBlock(this.size, [...this.tail], new Map(this.followers));
  }
}
