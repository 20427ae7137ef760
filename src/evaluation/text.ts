import { distance } from 'fastest-levenshtein';
import { strip } from '../text/python_strings.ts';

/**
 * Returns the similarity of two texts, 0 to 1: 1 minus their edit distance (insertions, deletions, replacements)
 * divided by the length of the longer text. Case-sensitive. White space at the ends is ignored, and other runs of white
 * space count as one space. Two empty texts are equal.
 */
export function editSimilarity(truth: string, answer: string): number {
  const [a, b] = [plain(truth), plain(answer)];
  const longest = Math.max(a.length, b.length);
  return longest === 0 ? 1 : 1 - distance(a, b) / longest;
}

/** Returns 1 if the texts are equal, else 0. Case and white space are compared as in `editSimilarity`. */
export const exactMatch = (truth: string, answer: string): number => (plain(truth) === plain(answer) ? 1 : 0);

const plain = (text: string): string => strip(text).replace(/\s+/g, ' ');
