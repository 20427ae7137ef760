import { labelColors } from '../drawing/colors.ts';
import type { ImageSize } from '../geometry/types.ts';
import type { TaskResult } from '../results/types.ts';
import { dequantize } from '../text/locations.ts';
import type { Region, ReportToken } from './report.ts';

type Place = Omit<Region, 'color' | 'locationTokens' | 'labelTokens' | 'outlines'> & { shapes: readonly number[][] };

/** The fields of a token that `answerRegions` reads. */
type AnswerToken = Pick<ReportToken, 'kind' | 'text'>;

interface Location {
  token: number;
  bin: number;
}

/**
 * Returns the regions of a result, each linked to the tokens that contain its coordinates and its label. Results are in
 * the order of the answer, and their coordinates come from location tokens. So each region is matched to the first
 * location tokens after those of the previous region that have the same pixel coordinates.
 */
export function answerRegions(result: TaskResult, tokens: readonly AnswerToken[]): Region[] {
  const colorOf = labelColors();
  const locations = locationsIn(tokens);
  let next = 0;
  return placesIn(result).map(({ shapes, ...place }) => {
    const locationTokens: number[] = [];
    for (const shape of shapes) {
      const from = find(shape, locations, next, result.imageSize);
      if (from < 0) continue;
      next = from + shape.length;
      locationTokens.push(...locations.slice(from, next).map(({ token }) => token));
    }
    const outlines = shapes.map(shape => (place.kind === 'box' ? corners(shape) : [...shape]));
    const labelTokens = place.label === '' ? [] : labelBefore(locationTokens[0] ?? 0, tokens);
    return { ...place, color: colorOf(place.label), outlines, locationTokens, labelTokens };
  });
}

/** Returns the coordinate of each location token in the regions, by the token's index: x and y alternate. */
export function coordinatesOf(
  regions: readonly Region[],
  tokens: readonly AnswerToken[],
  image: ImageSize,
): Map<number, NonNullable<ReportToken['coordinate']>> {
  const bins = new Map(locationsIn(tokens).map(({ token, bin }) => [token, bin]));
  return new Map(
    regions.flatMap(({ locationTokens }) =>
      locationTokens.map((token, i) => {
        // Every shape has an even number of coordinates, so x and y alternate across shapes too.
        const axis = i % 2 === 0 ? ('x' as const) : ('y' as const);
        const size = axis === 'x' ? image.width : image.height;
        return [token, { axis, value: dequantize(bins.get(token)!, size) }] as const;
      }),
    ),
  );
}

/** Returns boxes, quads, polygons and phrases in a common form, in the order of the answer. */
function placesIn(result: TaskResult): Place[] {
  const places: Place[] = [];
  if ('boxes' in result) {
    for (const { label, confidence, box } of result.boxes) {
      places.push({ kind: 'box', label, confidence, shapes: [box] });
    }
  }
  if ('instances' in result) {
    for (const { label, confidence, polygons } of result.instances) {
      places.push({ kind: 'polygon', label, confidence, shapes: polygons.filter(({ length }) => length >= 2) });
    }
  }
  if ('quads' in result) {
    for (const { text, confidence, quad } of result.quads) {
      places.push({ kind: 'quad', label: text, confidence, shapes: [quad] });
    }
  }
  if ('phrases' in result) {
    for (const { phrase, boxes } of result.phrases) {
      for (const { box, confidence } of boxes) places.push({ kind: 'box', label: phrase, confidence, shapes: [box] });
    }
  }
  return places;
}

const locationsIn = (tokens: readonly AnswerToken[]): Location[] =>
  tokens.flatMap(({ text }, token) => {
    const bin = /^<loc_(\d+)>$/.exec(text)?.[1];
    return bin === undefined ? [] : [{ token, bin: Number(bin) }];
  });

/** Returns the first index from `from` at which adjacent tokens have these coordinates; -1 if there is none. */
function find(shape: readonly number[], locations: readonly Location[], from: number, image: ImageSize): number {
  const fits = (start: number): boolean =>
    shape.every((value, i) => {
      const location = locations[start + i];
      if (location?.token !== locations[start].token + i) return false;
      return dequantize(location.bin, i % 2 === 0 ? image.width : image.height) === value;
    });
  for (let start = from; start + shape.length <= locations.length; start++) if (fits(start)) return start;
  return -1;
}

/** Returns the indices of the text tokens before a location; several locations may share a label. */
function labelBefore(first: number, tokens: readonly AnswerToken[]): number[] {
  let end = first;
  while (end > 0 && tokens[end - 1].kind !== 'text') end--;
  let begin = end;
  while (begin > 0 && tokens[begin - 1].kind === 'text') begin--;
  return Array.from({ length: end - begin }, (_, i) => begin + i);
}

const corners = ([x1, y1, x2, y2]: readonly number[]): number[] => [x1, y1, x2, y1, x2, y2, x1, y2];
