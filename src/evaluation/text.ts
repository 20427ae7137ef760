import { distance } from 'fastest-levenshtein';
import { strip } from '../text/python_strings.ts';

/**
 * How much of a text is right, 0 to 1: one minus the number of characters to insert, delete or replace, divided by the
 * length of the longer text. Case counts; white space at the ends does not, and any other run of it is one space. Two
 * empty texts are equal.
 */
export function editSimilarity(truth: string, answer: string): number {
  const [a, b] = [plain(truth), plain(answer)];
  const longest = Math.max(a.length, b.length);
  return longest === 0 ? 1 : 1 - distance(a, b) / longest;
}

/** 1 where the texts are equal, white space treated as in `editSimilarity` and case counting; else 0. */
export const exactMatch = (truth: string, answer: string): number => (plain(truth) === plain(answer) ? 1 : 0);

const plain = (text: string): string => strip(text).replace(/\s+/g, ' ');
