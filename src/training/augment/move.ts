import type { Target } from '../../datasets/example.ts';
import { clamp, clampBox, clipPolygon, polygonArea } from '../../geometry/clip.ts';
import type { BoxCoordinates } from '../../geometry/types.ts';
import type { TypedAnswer } from '../../results/format.ts';
import { taskInfo } from '../../text/tasks.ts';

/** A change of coordinates: everything outside the window is cut off, the rest is scaled and shifted. */
export interface Move {
  /** x becomes `x[0] · x + x[1]`, likewise y; the factor −1 mirrors. */
  x: [factor: number, shift: number];
  y: [factor: number, shift: number];
  /** The original image, in its pixels. */
  image: BoxCoordinates;
  /** The part of it that remains. */
  window: BoxCoordinates;
  /** Smallest share of an object's part inside the image that must be in the window, 0 to 1. */
  minVisible: number;
}

/** Printed text must remain whole; the difference to 1 tolerates rounding. */
const WHOLE = 0.999;

/**
 * Returns a moved target, or undefined if its region, or every object that its prompt requests, is cut off. Locations
 * must be in pixels (see `typedTarget`), so an answer that is a string contains only words.
 */
export function moveTarget(target: Target, move: Move): Target | undefined {
  const { answer: before } = target;
  const answer = typeof before === 'string' ? before : moveAnswer(before, move);
  const row = taskInfo(target.task);
  const requestsObjects = row?.input === 'text' || row?.answer === 'polygons';
  if (requestsObjects && isEmpty(answer) && !isEmpty(before)) return undefined;
  if (!target.box) return { ...target, answer };
  const box = moveBox(target.box, row?.task === '<REGION_TO_OCR>' ? { ...move, minVisible: WHOLE } : move);
  return box && { ...target, box, answer };
}

const isEmpty = (answer: TypedAnswer | string): boolean =>
  typeof answer !== 'string' && Object.values(answer).every(value => !Array.isArray(value) || value.length === 0);

function moveAnswer(answer: TypedAnswer, move: Move): TypedAnswer {
  if ('quads' in answer) {
    const quads = answer.quads.map(item => ({ ...item, quad: moveQuad(item.quad, move) }));
    return { quads: quads.filter(isKept('quad')) };
  }
  if ('phrases' in answer) {
    const phrases = answer.phrases.map(item => ({ ...item, boxes: moveBoxes(item.boxes, move) }));
    return { phrases: phrases.filter(({ boxes }) => boxes.length > 0) };
  }
  if ('instances' in answer && answer.instances.length > 0) {
    const instances = answer.instances.map(item => ({ ...item, polygons: movePolygons(item.polygons, move) }));
    return { instances: instances.filter(isKept('polygons')) };
  }
  return 'boxes' in answer ? { boxes: moveBoxes(answer.boxes, move) } : answer;
}

function moveBoxes<T extends { box: ArrayLike<number> }>(items: readonly T[], move: Move) {
  return items.map(item => ({ ...item, box: moveBox(item.box, move) })).filter(isKept('box'));
}

/** Returns a predicate for the items whose location remains after a move. */
const isKept =
  <F extends string>(field: F) =>
  <T extends Record<F, unknown>>(item: T): item is T & Record<F, NonNullable<T[F]>> =>
    item[field] !== undefined;

function moveBox(box: ArrayLike<number>, move: Move): BoxCoordinates | undefined {
  const whole = clampBox(box, move.image);
  const left = clampBox(whole, move.window);
  const [inX, inY] = [0, 1].map(axis => partInside(whole, left, axis));
  if (inX * inY === 0 || inX * inY < move.minVisible) return undefined;
  const [x1, x2] = [transform(left[0], move.x), transform(left[2], move.x)];
  const [y1, y2] = [transform(left[1], move.y), transform(left[3], move.y)];
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}

/** Returns the share of a box's side that remains. A side of length 0 is either inside or outside. */
function partInside(whole: BoxCoordinates, left: BoxCoordinates, axis: number): number {
  const length = whole[axis + 2] - whole[axis];
  return length > 0 ? (left[axis + 2] - left[axis]) / length : Number(whole[axis] === left[axis]);
}

function movePolygons(polygons: readonly ArrayLike<number>[], move: Move): number[][] | undefined {
  const whole = polygons.map(polygon => clipPolygon(polygon, move.image));
  const left = whole.map(polygon => clipPolygon(polygon, move.window));
  const kept = left.filter(
    (polygon, i) => polygon.length >= 6 && (polygonArea(polygon) > 0 || polygonArea(whole[i]) === 0),
  );
  const [areaBefore, areaAfter] = [whole, kept].map(list =>
    list.reduce((sum, polygon) => sum + polygonArea(polygon), 0),
  );
  if (kept.length === 0 || areaAfter < move.minVisible * areaBefore) return undefined;
  return kept.map(polygon => movePoints(move.x[0] < 0 ? reversed(polygon) : polygon, move));
}

/** Reverses the order of points, so that a mirrored outline keeps its direction. */
const reversed = (polygon: number[]): number[] => polygon.map((_, i) => polygon[polygon.length - 2 - i + 2 * (i % 2)]);

/** Returns a moved quad of text, or undefined if it is not whole. Corners keep their order: text is never mirrored. */
function moveQuad(quad: ArrayLike<number>, move: Move): number[] | undefined {
  const whole = Array.from(quad, (value, i) => clamp(value, move.image[i % 2], move.image[2 + (i % 2)]));
  const left = whole.map((value, i) => clamp(value, move.window[i % 2], move.window[2 + (i % 2)]));
  return whole.every((value, i) => Math.abs(value - left[i]) <= 0.5) ? movePoints(left, move) : undefined;
}

const movePoints = (points: readonly number[], { x, y }: Move): number[] =>
  points.map((value, i) => transform(value, i % 2 === 0 ? x : y));

const transform = (value: number, [factor, shift]: readonly [number, number]): number => factor * value + shift;
