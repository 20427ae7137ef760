import type { ImageSize } from '../../geometry/types.ts';
import { dequantizePoints } from '../../text/locations.ts';
import { parseDecimal, strip, stripStart } from '../../text/python_strings.ts';
import type { Span } from '../../text/tokenizer.ts';
import { END_OF_LABEL, LOCATION_TOKEN } from '../grammar.ts';
import type { AnswerText } from './answer.ts';

/** A location token of an answer. */
export interface Location {
  bin: number;
  span: Span;
}

/** The location tokens in a part of an answer that begins at `offset`. */
export function locationsIn(part: string, offset: number): Location[] {
  return Array.from(part.matchAll(LOCATION_TOKEN), match => ({
    bin: parseDecimal(match[1]),
    span: [offset + match.index, offset + match.index + match[0].length],
  }));
}

/** Bin centres in pixels, x and y by turns. */
export const toPixels = (locations: readonly Location[], image: ImageSize): number[] =>
  dequantizePoints(
    locations.map(({ bin }) => bin),
    image,
  );

/** `{ score }` of the tokens in these spans, or nothing where the answer has no log-probabilities. */
export function scored(answer: AnswerText, spans: readonly Span[]): { score?: number } {
  const score = answer.score(spans);
  return score === undefined ? {} : { score };
}

/**
 * The words at the beginning of a part, up to its first location, and their length with the white space around them.
 * Undefined where no location follows or a newline stands among the words: the reference skips such parts.
 */
export function labelOf(part: string): { label: string; length: number } | undefined {
  const length = part.search(END_OF_LABEL);
  if (length < 0 || stripStart(part.slice(0, length)).includes('\n')) return undefined;
  return { label: strip(part.slice(0, length)), length };
}

/** Labels lose what is not ASCII, as the reference's do, unless they are to be kept whole. */
export const asciiOnly = (label: string, keepUnicode: boolean): string =>
  keepUnicode ? label : label.replace(/[^\x00-\x7f]/g, '');
