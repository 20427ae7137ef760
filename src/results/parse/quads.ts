import type { ImageSize } from '../../text/locations.ts';
import { strip } from '../../text/python_strings.ts';
import type { Quad, QuadCoordinates } from '../types.ts';
import type { AnswerText } from './answer.ts';
import { LOCATION, locationsIn, scored, toPixels, WORDS_BEGIN } from './grammar.ts';

/** Any text of one line, then the eight locations of four corners. */
const QUAD = new RegExp(`${WORDS_BEGIN}([^\\n]+?)((?:${LOCATION}){8})`, 'gu');

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
