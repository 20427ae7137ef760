import type { ImageSize } from '../../geometry/types.ts';
import { dequantizePoints } from '../../text/locations.ts';
import { parseDecimal, strip, stripStart } from '../../text/python_strings.ts';
import type { Span } from '../../text/tokenizer.ts';
import type { AnswerText } from './answer.ts';

/**
 * How answers are written: labels followed by location tokens. The patterns take what the reference's take, on
 * malformed answers too: `\d` is a digit of any script, `.` anything but a newline.
 */
export const LOCATION = '<loc_\\p{Nd}+>';

/**
 * Where words can begin: at the start, after a tag, a cut tag's `<` or a newline. The patterns would find no more from
 * elsewhere, but would look at all the rest of the answer from each of its characters.
 */
export const WORDS_BEGIN = '(?<=^|[<>\\n])';

/** What ends a label. The tags other than `<loc_` and `<poly>` are of earlier models. */
const END_OF_LABEL = /<\/?od>|<\/?box>|<\/?bbox>|<loc_|<poly>/;

export interface Location {
  bin: number;
  span: Span;
}

/** The location tokens in a part of an answer that begins at `offset`. */
export function locationsIn(part: string, offset: number): Location[] {
  return Array.from(part.matchAll(/<loc_(\p{Nd}+)>/gu), match => ({
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
