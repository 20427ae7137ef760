import { Florence2Error } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { formatAnswer, parseAnswer, type TypedAnswer } from '../results/format.ts';
import { BANNED_PHRASES } from '../results/parse/places.ts';
import type { Target } from './example.ts';
import type { DatasetProblem } from './reading.ts';
import { checkTarget, meantTask } from './targets.ts';

/** Receives a problem of one target. */
export type Report = (severity: DatasetProblem['severity'], message: string) => void;

/** In place of the image's size where the image cannot be decoded: what needs no size is still looked at. */
const ANY_SIZE = { width: 1, height: 1 };

/** Says what is wrong with a target. Returns the text to be learnt, or undefined where there is none. */
export function inspectTarget(target: Target, image: ImageSize | undefined, report: Report): string | undefined {
  let text: string;
  try {
    checkTarget(target);
    text = formatAnswer(target.task, target.answer, image ?? ANY_SIZE);
  } catch (error) {
    if (!(error instanceof Florence2Error)) throw error;
    report('error', error.message);
    return undefined;
  }
  const meant = meantTask(target.task);
  if (meant) {
    const prompt = JSON.stringify(target.task);
    report('warning', `${prompt} is no task token and is learnt as a prompt of its own. Did you mean ${meant.task}?`);
  }
  const answer = typedAnswer(target, image ?? ANY_SIZE);
  for (const phrase of 'phrases' in answer ? answer.phrases.map(({ phrase }) => phrase) : []) {
    if (BANNED_PHRASES.has(phrase)) report('warning', `Results leave out the phrase ${JSON.stringify(phrase)}.`);
  }
  for (const { field, points, isBox } of image ? placesOf(target, answer) : []) {
    const problem = (isBox && shapeProblem(points)) || outside(points, isBox, image!);
    if (problem) report('warning', `${field} ${JSON.stringify(Array.from(points, rounded))} ${problem}.`);
  }
  return text;
}

/** The labels of a target's objects, and the names that its regions are given. */
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

/** All coordinates of a target with the fields that hold them. */
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

/** Texts with location tokens may hold corners in any order; typed answers may not. */
function shapeProblem(box: ArrayLike<number>): string | undefined {
  if (box[0] > box[2] || box[1] > box[3]) return 'has its corners in the wrong order';
  return box[0] === box[2] || box[1] === box[3] ? 'is empty' : undefined;
}

/** Annotations often count the last pixel in, or round up. */
const TOLERANCE = 1;

function outside(points: ArrayLike<number>, isBox: boolean, { width, height }: ImageSize): string | undefined {
  const size = `the image of ${width}x${height}`;
  if (isBox && (points[0] >= width || points[1] >= height || points[2] <= 0 || points[3] <= 0)) {
    return `lies outside of ${size}: it is learnt as a line along its edge`;
  }
  const far = Array.from(points).some((value, i) => value < -TOLERANCE || value > (i % 2 ? height : width) + TOLERANCE);
  return far ? `reaches out of ${size}: it is cut off at its edge` : undefined;
}

const rounded = (value: number): number => Math.round(value * 100) / 100;
