import type { TokenizedCaption } from './bleu.ts';
import { mean } from './detection.ts';

/** How much more recall counts than precision. */
const BETA = 1.2;

/**
 * Returns ROUGE-L, 0 to 1: the mean over captions of the F-measure (beta 1.2) of the longest common subsequence with the
 * best reference, chosen for precision and recall separately. Lin 2004; equal to pycocoevalcap's `Rouge`. NaN without
 * captions.
 */
export function rougeL(captions: readonly TokenizedCaption[]): number {
  return mean(
    captions.map(({ candidate, references }) => {
      const words = orEmptyWord(candidate);
      const known = references.map(orEmptyWord);
      const common = known.map(reference => commonLength(words, reference));
      const precision = Math.max(...common) / words.length;
      const recall = Math.max(...common.map((length, i) => length / known[i].length));
      if (precision === 0 || recall === 0) return 0;
      return ((1 + BETA ** 2) * precision * recall) / (recall + BETA ** 2 * precision);
    }),
  );
}

/** pycocoevalcap reads an empty caption as one empty word. */
const orEmptyWord = (words: readonly string[]): readonly string[] => (words.length > 0 ? words : ['']);

/** Returns the length of the longest common subsequence. */
function commonLength(a: readonly string[], b: readonly string[]): number {
  let row = b.map(() => 0);
  for (const word of a) {
    const above = row;
    row = [];
    for (const [j, other] of b.entries()) {
      row.push(word === other ? (above[j - 1] ?? 0) + 1 : Math.max(above[j], row[j - 1] ?? 0));
    }
  }
  return row.at(-1) ?? 0;
}
