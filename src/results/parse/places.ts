import type { BoxCoordinates, ImageSize, QuadCoordinates } from '../../geometry/types.ts';
import { strip } from '../../text/python_strings.ts';
import { LABELLED_BOXES, QUAD, UNLABELLED_BOXES } from '../grammar.ts';
import type { Box, Phrase, Quad } from '../types.ts';
import type { AnswerText } from './answer.ts';
import { asciiOnly, labelOf, locationsIn, scored, toPixels } from './parts.ts';

/** Objects and dense captions: every box with its label; boxes that share a label repeat it. */
export function parseBoxes(answer: AnswerText, image: ImageSize, keepUnicode: boolean): Box[] {
  return labelledParts(answer, image).flatMap(({ label, boxes }) =>
    boxes.map(box => ({ label: asciiOnly(label, keepUnicode), ...box })),
  );
}

/** Region proposals: boxes alone. Words between them are passed over. */
export function parseProposals(answer: AnswerText, image: ImageSize): Box[] {
  return Array.from(answer.text.matchAll(UNLABELLED_BOXES)).flatMap(({ 0: part, index }) =>
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
  return Array.from(answer.text.matchAll(LABELLED_BOXES)).flatMap(([part]) => {
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

/** Lines of text in their quadrilaterals. Those of less than `areaThreshold` of the image are dropped. */
export function parseQuads(answer: AnswerText, image: ImageSize, areaThreshold: number): Quad[] {
  const quads = Array.from(answer.text.matchAll(QUAD), ({ 1: text, 2: part, index }) => {
    const locations = locationsIn(part, index + text.length);
    const spans = locations.map(({ span }) => span);
    return { text: strip(text), quad: toPixels(locations, image) as QuadCoordinates, ...scored(answer, spans) };
  });
  return quads.filter(({ quad }) => area(quad) >= image.width * image.height * areaThreshold);
}

/** The reference's measure: the shoelace sum over three edges of the four, without the closing one. */
function area(quad: QuadCoordinates): number {
  let sum = 0;
  for (let i = 0; i < 6; i += 2) sum += quad[i] * quad[i + 3] - quad[i + 2] * quad[i + 1];
  return Math.abs(sum) / 2;
}

/**
 * Words that name nothing in the image: phrase grounding drops them, as Microsoft's processor does. Matched whole and
 * in this case only.
 */
// biome-ignore format: a list of words
export const BANNED_PHRASES: ReadonlySet<string> = new Set([
  'I', 'a', 'a group', 'a set', 'all', 'an', 'another', 'any', 'anybody', 'anyone', 'anything', 'each', 'each other',
  'everybody', 'everyone', 'everything', 'few', 'he', 'her', 'hers', 'herself', 'him', 'himself', 'his', 'image',
  'images', 'it', 'its', 'itself', 'lots', 'many', 'me', 'mine', 'myself', 'nobody', 'none', 'one', 'one another',
  'oneself', 'other objects', 'our', 'ours', 'ourselves', 'several', 'she', 'some', 'somebody', 'someone',
  'something', 'that', 'the', 'the image', 'their', 'theirs', 'them', 'themselves', 'these', 'they', 'this', 'those',
  'us', 'we', 'what', 'which', 'who', 'whom', 'whose', 'you', 'your', 'yours', 'yourself', 'yourselves',
]);
