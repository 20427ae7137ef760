import type { BoxCoordinates, ImageSize } from '../../text/locations.ts';
import type { Box, Phrase } from '../types.ts';
import type { AnswerText } from './answer.ts';
import { BANNED_PHRASES } from './banned_phrases.ts';
import { asciiOnly, LOCATION, labelOf, locationsIn, scored, toPixels, WORDS_BEGIN } from './grammar.ts';

/** `label<loc><loc><loc><loc>…`: words without `<`, then the four locations of one or more boxes. */
const LABELLED = new RegExp(`${WORDS_BEGIN}[^<]+(?:${LOCATION}){4,}`, 'gu');
const UNLABELLED = new RegExp(`(?:${LOCATION}){4,}`, 'gu');

/** Objects and dense captions: every box with its label; boxes that share a label repeat it. */
export function parseBoxes(answer: AnswerText, image: ImageSize, keepUnicode: boolean): Box[] {
  return labelledParts(answer, image).flatMap(({ label, boxes }) =>
    boxes.map(box => ({ label: asciiOnly(label, keepUnicode), ...box })),
  );
}

/** Region proposals: boxes alone. Words between them are passed over. */
export function parseProposals(answer: AnswerText, image: ImageSize): Box[] {
  return Array.from(answer.text.matchAll(UNLABELLED)).flatMap(({ 0: part, index }) =>
    boxesIn(answer, part, index, image).map(box => ({ label: '', ...box })),
  );
}

/** Phrases of a caption with their boxes; those that name nothing (`it`, `the image`) are left out. */
export function parsePhrases(
  answer: AnswerText,
  image: ImageSize,
  { keepUnicode, banned = BANNED_PHRASES }: { keepUnicode: boolean; banned?: ReadonlySet<string> },
): Phrase[] {
  return labelledParts(answer, image)
    .filter(({ label }) => !banned.has(label))
    .map(({ label, start, length, boxes }) => ({
      phrase: asciiOnly(label, keepUnicode),
      ...scored(answer, [[start, start + length]]),
      boxes,
    }));
}

/**
 * The labelled parts and where they begin, for their scores. As in the reference a part begins where the parts before
 * it end: after words that belong to no part (in malformed answers only) scores are of tokens further to the left.
 */
function labelledParts(answer: AnswerText, image: ImageSize) {
  let next = 0;
  return Array.from(answer.text.matchAll(LABELLED)).flatMap(([part]) => {
    const start = next;
    next += part.length;
    const words = labelOf(part);
    return words ? [{ ...words, start, boxes: boxesIn(answer, part, start, image) }] : [];
  });
}

/** Locations by fours; what is left over is dropped. Corners are not sorted. */
function boxesIn(answer: AnswerText, part: string, offset: number, image: ImageSize) {
  const locations = locationsIn(part, offset);
  return Array.from({ length: Math.floor(locations.length / 4) }, (_, i) => {
    const corners = locations.slice(4 * i, 4 * i + 4);
    const box = toPixels(corners, image) as BoxCoordinates;
    return {
      box,
      ...scored(
        answer,
        corners.map(({ span }) => span),
      ),
    };
  });
}
