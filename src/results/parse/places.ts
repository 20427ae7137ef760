import type { BoxCoordinates, ImageSize, QuadCoordinates } from '../../geometry/types.ts';
import { strip } from '../../text/python_strings.ts';
import { LABELLED_BOXES, QUAD, UNLABELLED_BOXES } from '../grammar.ts';
import type { Box, Phrase, Quad } from '../types.ts';
import type { AnswerText } from './answer.ts';
import { asciiOnly, labelOf, locationsIn, scored, toPixels } from './parts.ts';

/** Parses object detection and dense region captions. If several boxes share a label, each of them gets it. */
export function parseBoxes(answer: AnswerText, image: ImageSize, keepUnicode: boolean): Box[] {
  return labelledParts(answer, image).flatMap(({ label, boxes }) =>
    boxes.map(box => ({ label: asciiOnly(label, keepUnicode), ...box })),
  );
}

/** Parses region proposals: boxes without labels. Words between them are ignored. */
export function parseProposals(answer: AnswerText, image: ImageSize): Box[] {
  return Array.from(answer.text.matchAll(UNLABELLED_BOXES)).flatMap(({ 0: part, index }) =>
    boxesIn(answer, part, index, image).map(box => ({ label: '', ...box })),
  );
}

/**
 * Parses phrase grounding: the phrases of a caption with their boxes. Banned phrases (`it`, `the image`) are omitted.
 */
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
 * Returns the labelled parts of an answer with their start positions, which scores need. As in the reference, a part is
 * assumed to start at the sum of the lengths of earlier parts. In malformed answers, with words between parts, this is
 * too far left, and scores are those of earlier tokens.
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

/** Returns a box for every four locations. Surplus locations are ignored; corners are not sorted. */
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

/** Parses OCR with regions. Quads that cover less than `areaThreshold` of the image are omitted. */
export function parseQuads(answer: AnswerText, image: ImageSize, areaThreshold: number): Quad[] {
  const quads = Array.from(answer.text.matchAll(QUAD), ({ 1: text, 2: part, index }) => {
    const locations = locationsIn(part, index + text.length);
    const spans = locations.map(({ span }) => span);
    return { text: strip(text), quad: toPixels(locations, image) as QuadCoordinates, ...scored(answer, spans) };
  });
  return quads.filter(({ quad }) => area(quad) >= image.width * image.height * areaThreshold);
}

/** The reference's area of a quad: the shoelace sum over three of the four edges, without the closing one. */
function area(quad: QuadCoordinates): number {
  let sum = 0;
  for (let i = 0; i < 6; i += 2) sum += quad[i] * quad[i + 3] - quad[i + 2] * quad[i + 1];
  return Math.abs(sum) / 2;
}

/**
 * Phrases that results of phrase grounding omit, as Microsoft's processor does. Compared whole and case-sensitively.
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
