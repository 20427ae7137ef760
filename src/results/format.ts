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
 * What a model should answer, with coordinates in pixels of the original image. The fields are those of the results
 * (see results/types.ts), so a `TaskResult` is an answer too.
 */
export type TypedAnswer =
  /** Detection, dense region captions, region proposals (labels are empty), open-vocabulary detection. */
  | { boxes: { label: string; box: ArrayLike<number> }[] }
  /** Phrase grounding. */
  | { phrases: { phrase: string; boxes: { box: ArrayLike<number> }[] }[] }
  /** The segmentation tasks (labels are empty) and open-vocabulary detection with polygons. */
  | { instances: { label: string; polygons: ArrayLike<number>[] }[] }
  /** OCR with regions. */
  | { quads: { text: string; quad: ArrayLike<number> }[] }
  /** Captions, OCR, the region tasks that answer in words, and prompts of your own. */
  | { text: string };

/**
 * The text that a model should write, as Florence-2 was trained to: `parse` gives the answer back, its coordinates
 * moved to the middle of their bins. Words are trimmed. Neighbours with the same label share it, as in the answers of
 * the published checkpoints: `wheel<loc_704>…<loc_772><loc_149>…<loc_773>` are two wheels. An answer without objects
 * is the empty text.
 *
 * Coordinates are clamped to the image, so no `<loc_1000>` is ever written. A string is the very text to be learnt and
 * comes back as it is.
 *
 * @throws UsageError that names the field which the task cannot be answered by
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

/** The inverse of `formatAnswer`: a text with location tokens as a typed answer, in pixels of an image of this size. */
export function parseAnswer(task: string, text: string, image: ImageSize): TypedAnswer {
  if (taskInfo(task)?.answer !== 'phrases') return parse(text, task, image, { keepUnicode: true });
  // Results leave out phrases that name nothing ("it"); as answers they are to be learnt.
  return { phrases: parsePhrases(readAnswer(text), image, { keepUnicode: true, banned: new Set() }) };
}

/** Throws a UsageError where an answer is none for this task, naming the field. */
export function checkAnswer(task: string, answer: TypedAnswer | string): void {
  if (typeof answer === 'string') checkAnswerText(task, answer);
  else checkAnswerFields(task, answer);
}

const boxTokens =
  (image: ImageSize) =>
  ({ box }: { box: ArrayLike<number> }): string =>
    boxToTokens(box, image);

/**
 * Polygons of one instance are joined by `<sep>`. Each instance is enclosed in `<poly>`, but for one alone that needs
 * no label.
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
