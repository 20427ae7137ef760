import type { ImageSize } from '../../geometry/types.ts';
import { dequantizePoints } from '../../text/locations.ts';
import { parseDecimal, strip, stripStart } from '../../text/python_strings.ts';
import type { Span } from '../../text/tokenizer.ts';
import { LOCATION_TOKEN, REFERENCE_END_OF_LABEL } from '../grammar.ts';
import type { AnswerText } from './answer.ts';

/** A location token of an answer. */
export interface Location {
  bin: number;
  span: Span;
}

/** Returns the location tokens in a part of an answer that begins at `offset`. */
export function locationsIn(part: string, offset: number): Location[] {
  return Array.from(part.matchAll(LOCATION_TOKEN), match => ({
    bin: parseDecimal(match[1]),
    span: [offset + match.index, offset + match.index + match[0].length],
  }));
}

/** Returns the bin centres in pixels, [x, y, x, y, …]. */
export const toPixels = (locations: readonly Location[], image: ImageSize): number[] =>
  dequantizePoints(
    locations.map(({ bin }) => bin),
    image,
  );

/** Returns the scores of an object by the spans of its locations and of its words, or `{}` if they are unknown. */
export function scored(
  answer: AnswerText,
  locations: readonly Span[],
  words: readonly Span[] = [],
): { score?: number; confidence?: number } {
  const [score, confidence] = [answer.score(locations), answer.confidence(words, locations)];
  return { ...(score !== undefined && { score }), ...(confidence !== undefined && { confidence }) };
}

/** Returns `{ labelScore }` of the words in this span, or `{}` if it is unknown. */
export function labelScored(answer: AnswerText, words: Span): { labelScore?: number } {
  const labelScore = answer.score([words]);
  return labelScore === undefined ? {} : { labelScore };
}

/** How labels and places are read; see `ParseOptions`. */
export interface ReadingOptions {
  keepUnicode?: boolean;
  keepMalformed?: boolean;
}

/**
 * Returns the words at the beginning of a part, up to its first location, and their length including white space.
 * Returns undefined if no location follows or the words contain a newline; the reference skips such parts.
 */
export function labelOf(part: string, keepMalformed = false): { label: string; length: number } | undefined {
  const length = part.search(keepMalformed ? REFERENCE_END_OF_LABEL : /</);
  if (length < 0 || stripStart(part.slice(0, length)).includes('\n')) return undefined;
  return { label: strip(part.slice(0, length)), length };
}

/** Removes characters outside ASCII from a label, as the reference does, unless `keepUnicode` is set. */
export const asciiOnly = (label: string, keepUnicode = false): string =>
  keepUnicode ? label : label.replace(/[^\x00-\x7f]/g, '');

/** Returns `{ dropped }`, the number of malformed objects that a result lacks, or `{}` if it is 0. */
export const droppedField = (dropped: number): { dropped?: number } => (dropped > 0 ? { dropped } : {});
