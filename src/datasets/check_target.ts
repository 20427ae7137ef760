import { Florence2Error } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { formatAnswer, parseAnswer, type TypedAnswer } from '../results/format.ts';
import { BANNED_PHRASES } from '../results/parse/places.ts';
import { resolveTask, suggestTask, taskInfo } from '../text/tasks.ts';
import type { Target } from './example.ts';
import type { DatasetProblem } from './reading.ts';
import { checkTarget } from './targets.ts';

/** Receives a problem of one target. */
export type Report = (severity: DatasetProblem['severity'], message: string) => void;

/** Used if the size of the image is unknown, so that checks that need no size still run. */
export const ANY_SIZE = { width: 1, height: 1 };

/** Reports what is wrong with a target. Returns whether it is valid, apart from its length. */
export function inspectTarget(target: Target, image: ImageSize | undefined, report: Report): boolean {
  try {
    checkTarget(target);
    formatAnswer(target.task, target.answer, image ?? ANY_SIZE);
  } catch (error) {
    if (!(error instanceof Florence2Error)) throw error;
    report('error', error.message);
    return false;
  }
  const tag = /^<([^<>]*)>/.exec(target.task)?.[1] ?? target.task;
  const meant = taskInfo(target.task) ? undefined : suggestTask(tag);
  if (meant) {
    const prompt = JSON.stringify(target.task);
    const token = resolveTask(meant);
    report('warning', `${prompt} is not a task token, so it is learnt as a custom prompt. Did you mean ${token}?`);
  }
  const answer = typedAnswer(target, image ?? ANY_SIZE);
  for (const phrase of 'phrases' in answer ? answer.phrases.map(({ phrase }) => phrase) : []) {
    if (BANNED_PHRASES.has(phrase)) report('warning', `Results omit the phrase ${JSON.stringify(phrase)}.`);
  }
  for (const { field, points, isBox } of image ? placesOf(target, answer) : []) {
    const problem = (isBox && shapeProblem(points)) || outside(points, isBox, image!);
    if (problem) report('warning', `${field} ${JSON.stringify(Array.from(points, rounded))} ${problem}.`);
  }
  return true;
}

/** Returns the labels, phrases and category names of a target. */
export function labelsOf(target: Target): string[] {
  const answer = typedAnswer(target, ANY_SIZE);
  if ('phrases' in answer) return answer.phrases.map(({ phrase }) => phrase);
  if ('text' in answer) return target.task === '<REGION_TO_CATEGORY>' ? [answer.text] : [];
  const objects = [...('instances' in answer ? answer.instances : []), ...('boxes' in answer ? answer.boxes : [])];
  return objects.map(({ label }) => label).filter(label => label !== '' && label !== undefined);
}

const typedAnswer = ({ task, answer }: Target, image: ImageSize): TypedAnswer =>
  typeof answer === 'string' ? parseAnswer(task, answer, image) : answer;

interface Place {
  field: string;
  points: ArrayLike<number>;
  isBox: boolean;
}

/** Returns all coordinates of a target with the names of their fields. */
function placesOf({ box }: Target, answer: TypedAnswer): Place[] {
  const region = box ? [{ field: 'box', points: box, isBox: true }] : [];
  const boxes = (items: readonly { box: ArrayLike<number> }[], at: string): Place[] =>
    items.map((item, i) => ({ field: `${at}[${i}].box`, points: item.box, isBox: true }));
  if ('quads' in answer) {
    return [
      ...region,
      ...answer.quads.map(({ quad }, i) => ({ field: `answer.quads[${i}].quad`, points: quad, isBox: false })),
    ];
  }
  if ('phrases' in answer) {
    return [...region, ...answer.phrases.flatMap((phrase, i) => boxes(phrase.boxes, `answer.phrases[${i}].boxes`))];
  }
  const outlines = ('instances' in answer ? answer.instances : []).flatMap(({ polygons }, i) =>
    polygons.map((points, k) => ({ field: `answer.instances[${i}].polygons[${k}]`, points, isBox: false })),
  );
  return [...region, ...outlines, ...boxes('boxes' in answer ? answer.boxes : [], 'answer.boxes')];
}

/**
 * Checks the order of corners, which only texts with location tokens can get wrong: typed answers are refused earlier.
 */
function shapeProblem(box: ArrayLike<number>): string | undefined {
  if (box[0] > box[2] || box[1] > box[3]) return 'has its corners in the wrong order';
  return box[0] === box[2] || box[1] === box[3] ? 'is empty' : undefined;
}

/** Pixels. Annotations often include the last pixel or round up. */
const TOLERANCE = 1;

function outside(points: ArrayLike<number>, isBox: boolean, { width, height }: ImageSize): string | undefined {
  const size = `the image of ${width}x${height}`;
  if (isBox && (points[0] >= width || points[1] >= height || points[2] <= 0 || points[3] <= 0)) {
    return `is outside ${size}: it is learnt as a line along the edge`;
  }
  const far = Array.from(points).some((value, i) => value < -TOLERANCE || value > (i % 2 ? height : width) + TOLERANCE);
  return far ? `extends beyond ${size}: it is clipped` : undefined;
}

const rounded = (value: number): number => Math.round(value * 100) / 100;
