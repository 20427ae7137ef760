import type { BoxCoordinates, ImageSize } from '../../geometry/types.ts';
import { dequantizeBox } from '../../text/locations.ts';
import type { Span } from '../../text/tokenizer.ts';
import { GRAMMAR, INSTANCE, POLYGON, REFERENCE_GRAMMAR, UNLABELLED_POLYGONS } from '../grammar.ts';
import type { PolygonInstance } from '../types.ts';
import type { AnswerText } from './answer.ts';
import { droppedField, type Location, labelOf, labelScored, locationsIn, scored, toPixels } from './parts.ts';

export interface PolygonOptions {
  /** Whether instances have labels. If not, all labels are empty. */
  labels: boolean;
  /** Whether the first four locations of each instance are its box. */
  boxAtStart: boolean;
  /** Whether labels may be empty or contain remnants of tags, as in the reference. Default false. */
  keepMalformed?: boolean;
}

/**
 * Parses `label<poly>…<sep>…</poly>`: instances are enclosed in `<poly>`, their polygons are joined by `<sep>`. Without
 * `<poly>` tags, everything after a label is one instance. Instances without a label are dropped if `labels` is set.
 */
export function parsePolygons(answer: AnswerText, image: ImageSize, options: PolygonOptions) {
  const { labels, keepMalformed } = options;
  const labelled = keepMalformed ? REFERENCE_GRAMMAR.polygons : GRAMMAR.polygons;
  const instances: PolygonInstance[] = [];
  let dropped = 0;
  for (const { 0: whole, index } of answer.text.matchAll(labels ? labelled : UNLABELLED_POLYGONS)) {
    // If the reference's pattern began inside a location token, the part begins with `loc_12>`.
    const cut = /^loc_\p{Nd}+>/u.exec(whole)?.[0].length ?? 0;
    const part = whole.slice(cut);
    const start = index + cut;
    const { label, length } = labelOf(part, keepMalformed) ?? { label: undefined, length: 0 };
    const words: Span = [start, start + length];
    const found = instancesIn(part, start).filter(polygons => polygons.length > 0);
    const unusable = keepMalformed ? label === undefined : labels && !label;
    if (unusable) dropped += found.length;
    else
      instances.push(
        ...found.map(polygons => instance(answer, { label: label ?? '', words }, polygons, image, options)),
      );
  }
  return { instances, ...droppedField(keepMalformed ? 0 : dropped) };
}

/** Returns the polygons of each instance as locations. */
function instancesIn(part: string, offset: number): Location[][][] {
  const enclosed = part.includes('<poly>') && part.includes('</poly>');
  const contents = enclosed
    ? Array.from(part.matchAll(INSTANCE), ({ 1: inner, index }) => ({
        inner,
        at: index + '<poly>'.length,
      }))
    : [{ inner: part, at: 0 }];
  return contents.map(({ inner, at }) =>
    Array.from(inner.matchAll(POLYGON), match => locationsIn(match[0], offset + at + match.index)),
  );
}

function instance(
  answer: AnswerText,
  { label, words }: { label: string; words: Span },
  polygons: Location[][],
  image: ImageSize,
  { boxAtStart }: PolygonOptions,
): PolygonInstance {
  const spans = polygons.flat().map(({ span }) => span);
  const [first, ...others] = polygons;
  const box = boxAtStart ? startingBox(first, image) : {};
  const outlines = boxAtStart && first.length > 4 ? [first.slice(4), ...others] : polygons;
  return {
    label,
    ...box,
    polygons: outlines.map(outline => toPixels(pairs(outline), image)),
    ...scored(answer, spans, [words]),
    ...labelScored(answer, words),
  };
}

function startingBox(first: Location[], image: ImageSize): { box: BoxCoordinates } {
  const bins = first.length > 4 ? first.slice(0, 4).map(({ bin }) => bin) : [0, 0, 0, 0];
  return { box: dequantizeBox(bins, image) };
}

/** Removes a last location that has no partner. */
const pairs = (locations: Location[]): Location[] => locations.slice(0, locations.length - (locations.length % 2));
