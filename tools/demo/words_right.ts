import { SHAPES } from './shapes.ts';
import { COLORS } from './vocabulary.ts';

const naming = new Set([...Object.keys(COLORS), ...Object.keys(SHAPES)]);

/** The colour and shape words of a caption, in their order. */
const namingWords = (text: string): string[] => (text.match(/\p{L}+/gu) ?? []).filter(word => naming.has(word));

/** How many of the true caption's colour and shape words stand at their place among those of the answer. */
export function wordsRight(truth: string, answer: string): { right: number; total: number } {
  const [wanted, given] = [namingWords(truth), namingWords(answer)];
  return { right: wanted.filter((word, i) => given[i] === word).length, total: wanted.length };
}
