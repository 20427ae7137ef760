/** Tokens of a generated caption and of the captions that people wrote, as `pennTokens` returns them. */
export interface TokenizedCaption {
  candidate: readonly string[];
  references: readonly (readonly string[])[];
}

/** The longest n-grams that count. */
const ORDERS = [1, 2, 3, 4];
/** What pycocoevalcap adds to counts, so that it never divides by 0. */
const [TINY, SMALL] = [1e-15, 1e-9];

/** Counts that add up over captions. */
interface Counts {
  matched: number[]; // by order
  total: number[];
  length: number;
  referenceLength: number;
}

/**
 * Returns BLEU-1 to BLEU-4 of a corpus, 0 to 1: the geometric mean of n-gram precisions, clipped by the highest count in
 * a reference, times a penalty for captions shorter than the closest reference. Papineni et al. 2002; equal to
 * pycocoevalcap's `Bleu`. It is not the mean over captions: counts are summed first.
 */
export function bleu(captions: readonly TokenizedCaption[]): number[] {
  const counts = captions.map(countsOf);
  const sum = (value: (one: Counts) => number): number => counts.reduce((total, one) => total + value(one), 0);
  const ratio = (sum(one => one.length) + TINY) / (sum(one => one.referenceLength) + SMALL);
  const penalty = ratio < 1 ? Math.exp(1 - 1 / ratio) : 1;
  let product = 1;
  return ORDERS.map(n => {
    product *= (sum(one => one.matched[n - 1]) + TINY) / (sum(one => one.total[n - 1]) + SMALL);
    return product ** (1 / n) * penalty;
  });
}

function countsOf({ candidate, references }: TokenizedCaption): Counts {
  const words = splitSpaces(candidate);
  const known = references.map(splitSpaces);
  const highest = new Map<string, number>();
  for (const reference of known) {
    for (const [gram, count] of ngramCounts(reference)) highest.set(gram, Math.max(count, highest.get(gram) ?? 0));
  }
  const matched = ORDERS.map(() => 0);
  for (const [gram, count] of ngramCounts(words)) {
    matched[gram.split(' ').length - 1] += Math.min(count, highest.get(gram) ?? 0);
  }
  // Of two equally close lengths the shorter.
  const [closest] = known
    .map(({ length }) => length)
    .sort((a, b) => Math.abs(a - words.length) - Math.abs(b - words.length) || a - b);
  const total = ORDERS.map(n => Math.max(0, words.length - n + 1));
  return { matched, total, length: words.length, referenceLength: closest };
}

/** Counts the n-grams of all orders, as words joined by blanks. */
function ngramCounts(words: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i < words.length; i++) {
    let gram = '';
    for (const word of words.slice(i, i + ORDERS.length)) {
      gram = gram === '' ? word : `${gram} ${word}`;
      counts.set(gram, (counts.get(gram) ?? 0) + 1);
    }
  }
  return counts;
}

/** Splits tokens at white space inside them (`1 1/2` with U+00A0), as pycocoevalcap's BLEU and CIDEr-D do. */
export const splitSpaces = (tokens: readonly string[]): readonly string[] =>
  tokens.some(token => /\s/.test(token)) ? tokens.flatMap(token => token.split(/\s+/).filter(Boolean)) : tokens;
