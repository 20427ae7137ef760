import type { BoxCoordinates, ImageSize, QuadCoordinates } from '../../geometry/types.ts';
import { strip } from '../../text/python_strings.ts';
import type { Span } from '../../text/tokenizer.ts';
import { GRAMMAR, REFERENCE_GRAMMAR, UNLABELLED_BOXES } from '../grammar.ts';
import type { Box, Phrase, Quad } from '../types.ts';
import type { AnswerText } from './answer.ts';
import {
  asciiOnly,
  droppedField,
  labelOf,
  labelScored,
  locationsIn,
  type ReadingOptions,
  scored,
  toPixels,
} from './parts.ts';

/** Parses object detection and dense region captions. If several boxes share a label, each of them gets it. */
export function parseBoxes(answer: AnswerText, image: ImageSize, options: ReadingOptions) {
  const { parts, dropped } = labelledParts(answer, image, options);
  const boxes = parts.flatMap(({ label, words, boxes }) =>
    boxes.map((box): Box => ({ label: asciiOnly(label, options.keepUnicode), ...box, ...labelScored(answer, words) })),
  );
  return { boxes, ...droppedField(dropped) };
}

/** Parses region proposals: boxes without labels. Words between them are ignored. */
export function parseProposals(answer: AnswerText, image: ImageSize, { keepMalformed }: ReadingOptions) {
  const all = Array.from(answer.text.matchAll(UNLABELLED_BOXES)).flatMap(({ 0: part, index }) =>
    boxesIn(answer, part, index, image).map((box): Box => ({ label: '', ...box })),
  );
  const boxes = keepMalformed ? all : all.filter(hasArea);
  return { boxes, ...droppedField(all.length - boxes.length) };
}

/**
 * Parses phrase grounding: the phrases of a caption with their boxes. Banned phrases (`it`, `the image`) are omitted.
 */
export function parsePhrases(
  answer: AnswerText,
  image: ImageSize,
  { banned = BANNED_PHRASES, ...options }: ReadingOptions & { banned?: ReadonlySet<string> },
) {
  const { parts, dropped } = labelledParts(answer, image, options);
  const phrases = parts
    .filter(({ label }) => !banned.has(label))
    .map(
      ({ label, words, boxes }): Phrase => ({
        phrase: asciiOnly(label, options.keepUnicode),
        ...labelScored(answer, words),
        boxes,
      }),
    );
  return { phrases, ...droppedField(dropped) };
}

/** Words of an answer and the boxes after them. */
interface LabelledPart {
  label: string;
  words: Span;
  boxes: Phrase['boxes'];
}

/**
 * Returns the labelled parts of an answer with the positions of their labels, which scores need, and the number of boxes
 * that were dropped: those without a label or without an area. With `keepMalformed` nothing is dropped, and, as in the
 * reference, a part is assumed to start at the sum of the lengths of earlier parts. In malformed answers, with words
 * between parts, this is too far left, and scores are those of earlier tokens.
 */
function labelledParts(
  answer: AnswerText,
  image: ImageSize,
  { keepMalformed }: ReadingOptions,
): { parts: LabelledPart[]; dropped: number } {
  let next = 0;
  let dropped = 0;
  const parts: LabelledPart[] = [];
  for (const { 0: part, index } of answer.text.matchAll((keepMalformed ? REFERENCE_GRAMMAR : GRAMMAR).boxes)) {
    const start = keepMalformed ? next : index;
    next += part.length;
    const found = labelOf(part, keepMalformed);
    const words: Span = [start, start + (found?.length ?? 0)];
    const boxes = boxesIn(answer, part, start, image, [words]);
    const kept = keepMalformed ? boxes : found?.label ? boxes.filter(hasArea) : [];
    dropped += boxes.length - kept.length;
    if (found && (keepMalformed || kept.length > 0)) parts.push({ label: found.label, words, boxes: kept });
  }
  return { parts, dropped };
}

/** Whether the corners of a box are in order and differ in both directions. */
const hasArea = ({ box: [x1, y1, x2, y2] }: { box: BoxCoordinates }): boolean => x1 < x2 && y1 < y2;

/** Returns a box for every four locations. Surplus locations are ignored; corners are not sorted. */
function boxesIn(answer: AnswerText, part: string, offset: number, image: ImageSize, words: Span[] = []) {
  const locations = locationsIn(part, offset);
  return Array.from({ length: Math.floor(locations.length / 4) }, (_, i) => {
    const corners = locations.slice(4 * i, 4 * i + 4);
    const box = toPixels(corners, image) as BoxCoordinates;
    const spans = corners.map(({ span }) => span);
    return { box, ...scored(answer, spans, words) };
  });
}

/**
 * Parses OCR with regions. Quads that cover less than `areaThreshold` of the image are omitted. Quads without text or
 * without an area are dropped, unless `keepMalformed` is set.
 */
export function parseQuads(
  answer: AnswerText,
  image: ImageSize,
  { keepMalformed, areaThreshold }: ReadingOptions & { areaThreshold: number },
) {
  const found = answer.text.matchAll((keepMalformed ? REFERENCE_GRAMMAR : GRAMMAR).quad);
  const all = Array.from(found, ({ 1: text = '', 2: part, index }): Quad => {
    const locations = locationsIn(part, index + text.length);
    const spans = locations.map(({ span }) => span);
    const words: Span = [index, index + text.length];
    const scores = { ...scored(answer, spans, [words]), ...labelScored(answer, words) };
    return { text: strip(text), quad: toPixels(locations, image) as QuadCoordinates, ...scores };
  });
  const formed = keepMalformed ? all : all.filter(({ text, quad }) => text !== '' && hasExtent(quad));
  const quads = formed.filter(({ quad }) => area(quad) >= image.width * image.height * areaThreshold);
  return { quads, ...droppedField(all.length - formed.length) };
}

/** Whether the corners of a quad differ in x and in y. */
const hasExtent = (quad: QuadCoordinates): boolean =>
  [0, 1].every(axis => quad.some((value, i) => i % 2 === axis && value !== quad[axis]));

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
