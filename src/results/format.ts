import type { ImageSize } from '../geometry/types.ts';
import { boxToTokens, pointsToTokens } from '../text/locations.ts';
import { strip } from '../text/python_strings.ts';
import { taskInfo } from '../text/tasks.ts';
import { checkAnswerFields } from './check_fields.ts';
import { checkAnswerText } from './check_text.ts';
import { readAnswer } from './parse/answer.ts';
import { parse } from './parse/parse.ts';
import { parsePhrases } from './parse/places.ts';

/**
 * An answer as data, with coordinates in pixels of the original image. The fields are those of results, so a
 * `TaskResult` is also a `TypedAnswer`.
 */
export type TypedAnswer =
  /** Detection, dense region captions, region proposals (with empty labels), open-vocabulary detection. */
  | { boxes: { label: string; box: ArrayLike<number> }[] }
  /** Phrase grounding. */
  | { phrases: { phrase: string; boxes: { box: ArrayLike<number> }[] }[] }
  /** The segmentation tasks (with empty labels), and open-vocabulary detection with polygons. */
  | { instances: { label: string; polygons: ArrayLike<number>[] }[] }
  /** OCR with regions. */
  | { quads: { text: string; quad: ArrayLike<number> }[] }
  /** Captions, OCR without regions, the region tasks that answer in words, custom prompts. */
  | { text: string };

/**
 * Returns the text of an answer in the format that Florence-2 was trained on. `parseAnswer` is the inverse, up to the
 * rounding of coordinates to the centres of their bins.
 *
 * Words are trimmed. Consecutive objects with the same label share it, as in the answers of the published checkpoints:
 * `wheel<loc_704>…<loc_772><loc_149>…<loc_773>` are two wheels. An answer without objects is the empty text.
 * Coordinates are clamped to the image, so `<loc_1000>` never occurs.
 *
 * @param answer a string is checked and returned unchanged
 * @param image size of the original image in pixels
 * @throws UsageError that names the invalid field
 */
export function formatAnswer(task: string, answer: TypedAnswer | string, image: ImageSize): string {
  checkAnswer(task, answer);
  if (typeof answer === 'string') return answer;
  if ('text' in answer) return strip(answer.text);
  if ('quads' in answer) {
    return answer.quads.map(({ text, quad }) => strip(text) + pointsToTokens(quad, image)).join('');
  }
  if ('phrases' in answer) {
    return answer.phrases.map(({ phrase, boxes }) => strip(phrase) + boxes.map(boxTokens(image)).join('')).join('');
  }
  if ('instances' in answer && answer.instances.length > 0) return instancesText(task, answer.instances, image);
  return 'boxes' in answer ? labelled(answer.boxes, boxTokens(image)) : '';
}

/**
 * Returns a text with location tokens as a typed answer in pixels of an image of this size, the inverse of
 * `formatAnswer`.
 */
export function parseAnswer(task: string, text: string, image: ImageSize): TypedAnswer {
  if (taskInfo(task)?.answer !== 'phrases') return parse(text, task, image, EVERYTHING);
  // Results omit pronouns and similar phrases ("it"), but a training answer keeps them.
  const { phrases } = parsePhrases(readAnswer(text), image, { ...EVERYTHING, banned: new Set() });
  return { phrases };
}

/** A training answer keeps what results omit, so that `formatAnswer` returns the same text again. */
const EVERYTHING = { keepUnicode: true, keepMalformed: true };

/** Checks that an answer is valid for a task. @throws UsageError that names the invalid field */
export function checkAnswer(task: string, answer: TypedAnswer | string): void {
  if (typeof answer === 'string') checkAnswerText(task, answer);
  else checkAnswerFields(task, answer);
}

const boxTokens =
  (image: ImageSize) =>
  ({ box }: { box: ArrayLike<number> }): string =>
    boxToTokens(box, image);

/**
 * Joins the polygons of an instance by `<sep>` and encloses each instance in `<poly>…</poly>`. The tags are omitted for
 * a single instance of a segmentation task.
 */
function instancesText(
  task: string,
  instances: { label: string; polygons: ArrayLike<number>[] }[],
  image: ImageSize,
): string {
  const outlines = ({ polygons }: { polygons: ArrayLike<number>[] }): string =>
    polygons.map(polygon => pointsToTokens(polygon, image)).join('<sep>');
  if (taskInfo(task)?.answer === 'polygons' && instances.length === 1) return outlines(instances[0]);
  return labelled(instances, instance => `<poly>${outlines(instance)}</poly>`);
}

/** Writes each item after its label. A label equal to the previous one is omitted. */
function labelled<T extends { label: string }>(items: readonly T[], tokens: (item: T) => string): string {
  let previous = '';
  return items
    .map(item => {
      const label = strip(item.label);
      const words = label === previous ? '' : label;
      previous = label;
      return words + tokens(item);
    })
    .join('');
}
