import { SHAPES } from './shapes.ts';
import { COLORS } from './vocabulary.ts';

const naming = new Set([...Object.keys(COLORS), ...Object.keys(SHAPES)]);

/** Returns the colour and shape words of a caption, in order. */
const namingWords = (text: string): string[] => (text.match(/\p{L}+/gu) ?? []).filter(word => naming.has(word));

/** Counts the colour and shape words of the true caption that the answer has at the same index among its own. */
export function wordsRight(truth: string, answer: string): { right: number; total: number } {
  const [wanted, given] = [namingWords(truth), namingWords(answer)];
  return { right: wanted.filter((word, i) => given[i] === word).length, total: wanted.length };
}
