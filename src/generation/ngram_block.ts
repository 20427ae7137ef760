/** A token that followed a prefix, linked to earlier ones. Immutable, so that forks can share it. */
interface Follower {
  readonly token: number;
  readonly earlier: Follower | undefined;
}

/**
 * Bans tokens that would complete an n-gram of `size` tokens for the second time in a sequence, including the decoder
 * start token. A map from each prefix of `size - 1` tokens to the tokens that followed it keeps the cost of a step
 * independent of the sequence's length. Size 0 bans nothing.
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

  /** Returns the banned next tokens. */
  banned(): number[] {
    const tokens: number[] = [];
    if (this.size === 0 || this.tail.length < this.size - 1) return tokens;
    for (let f = this.followers.get(this.tail.join(' ')); f; f = f.earlier) tokens.push(f.token);
    return tokens;
  }

  /** Returns an independent copy, for a beam with several extensions. */
  fork(): NgramBlock {
    return new NgramBlock(this.size, [...this.tail], new Map(this.followers));
  }
}
