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

/** The edits that turn a true text into an answer, and the length of the true text. */
export interface TextErrors {
  /** Insertions, deletions and replacements, of words or characters. */
  edits: number;
  length: number;
}

/** Counts errors in words, separated by blanks. Case-sensitive. As jiwer's word error rate (WER). */
export function wordErrors(truth: string, answer: string): TextErrors {
  const [a, b] = [truth, answer].map(text =>
    strip(text)
      .replace(/\s\s+/g, ' ')
      .split(' ')
      .filter(word => word !== ''),
  );
  return { edits: editDistance(a, b), length: a.length };
}

/** Counts errors in characters (code points). White space at the ends is ignored. As jiwer's character error rate (CER). */
export function characterErrors(truth: string, answer: string): TextErrors {
  const [a, b] = [truth, answer].map(text => [...strip(text)]);
  return { edits: editDistance(a, b), length: a.length };
}

/** Returns the edits of all texts divided by their lengths; the number of edits if all true texts are empty. */
export function errorRate(errors: readonly TextErrors[]): number {
  const [edits, length] = [errors.map(one => one.edits), errors.map(one => one.length)].map(counts =>
    counts.reduce((sum, count) => sum + count, 0),
  );
  return edits / (length || 1);
}

/** Returns 1 if the texts are equal without case and punctuation, else 0. As lmms-eval's `exact_match`. */
export const exactMatchPlain = (truth: string, answer: string): number =>
  withoutMarks(truth) === withoutMarks(answer) ? 1 : 0;

const withoutMarks = (text: string): string => text.toLowerCase().replace(/[!-/:-@[-`{-~]/g, '');

/** Similarities below this count 0. */
const LEAST_SIMILARITY = 0.5;

/**
 * Returns the normalised Levenshtein similarity of an answer to the nearest of its true texts, 0 to 1; 0 if half of the
 * longer text or more differs. Case is ignored. ANLS is the mean over questions. Biten et al. 2019; as the package anls.
 *
 * @param truths at least one
 */
export function anls(truths: readonly string[], answer: string): number {
  const similarities = truths.map(truth => {
    const lengths = [truth, answer].map(text => capitalLength(plain(text.toLowerCase())));
    const differing = difference(truth, answer) / (Math.max(...lengths) || 1);
    return differing < LEAST_SIMILARITY ? 1 - differing : 0;
  });
  return Math.max(...similarities);
}

/**
 * Returns the ANLS of one answer as the script of the Robust Reading Competition and lmms-eval compute it, for comparison
 * with published figures: blanks at the ends count in the lengths, and a text of which half differs counts 0.5.
 *
 * @param truths at least one
 */
export function anlsRrc(truths: readonly string[], answer: string): number {
  const similarities = truths.map(truth => {
    const longest = Math.max(capitalLength(truth), capitalLength(answer));
    const similarity = 1 - difference(truth, answer) / (longest || 1);
    return similarity >= LEAST_SIMILARITY ? similarity : 0;
  });
  return Math.max(...similarities);
}

/** Returns the edit distance of two texts without case and further white space. */
const difference = (truth: string, answer: string): number =>
  editDistance([...plain(truth.toLowerCase())], [...plain(answer.toLowerCase())]);

/** Returns the number of characters in capitals: "ß" counts 2. */
const capitalLength = (text: string): number => [...text.toUpperCase()].length;

/** Returns the Levenshtein distance of two sequences. */
function editDistance(a: readonly string[], b: readonly string[]): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (const [i, item] of a.entries()) {
    const above = row;
    row = [i + 1];
    for (const [j, other] of b.entries()) {
      row.push(Math.min(above[j + 1] + 1, row[j] + 1, above[j] + (item === other ? 0 : 1)));
    }
  }
  return row[b.length];
}
