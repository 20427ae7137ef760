import { UsageError } from '../errors.ts';
import { clampBox } from '../geometry/clip.ts';
import type { ImageSize } from '../geometry/types.ts';
import { checkBox } from '../results/check_fields.ts';
import { checkLocationTokens } from '../results/check_text.ts';
import { checkAnswer } from '../results/format.ts';
import { show } from '../show.ts';
import { checkArguments } from '../text/prompt.ts';
import { strip } from '../text/python_strings.ts';
import { findTask, mistypedTask, taskInfo } from '../text/tasks.ts';
import type { Target } from './example.ts';

/** Checks the prompt and the answer of a target. @throws UsageError that names the invalid field */
export function checkTarget(target: Target): void {
  checkQuestion(target);
  checkAnswer(target.task, target.answer);
}

/** Splits a prompt into its task token and text. A prompt without a task token is a custom prompt. */
export function splitPrompt(prompt: string): { task: string; text?: string } {
  const row = findTask(prompt);
  if (!row) return { task: prompt };
  const text = strip(prompt.replaceAll(row.task, ''));
  return text === '' ? { task: row.task } : { task: row.task, text };
}

function checkQuestion({ task, text, box }: Target): void {
  if (typeof task !== 'string') throw new UsageError(`task is ${show(task)}, expected a task token or a prompt.`);
  if (text !== undefined && typeof text !== 'string') throw new UsageError(`text is ${show(text)}, expected words.`);
  if (box !== undefined) checkBox(box, 'box');
  checkLocationTokens(text ?? task, 'The prompt');
  const row = taskInfo(task);
  if (row) {
    checkArguments(row.task, { text, box });
    return;
  }
  const inside = findTask(task);
  if (inside) {
    throw new UsageError(
      `The prompt ${show(task)} contains ${inside.task}: give the token as the task, and the rest as its text.`,
    );
  }
  if (strip(task) === '') throw new UsageError('The prompt is empty: give a task token or a custom prompt.');
  const meant = mistypedTask(task);
  if (meant) throw new UsageError(`${show(task)} is not a task token. Did you mean ${meant.task}?`);
  if (text !== undefined || box !== undefined) {
    throw new UsageError(
      `${show(task)} is a custom prompt, which takes no ${box ? 'box' : 'text'}: write it into the prompt.`,
    );
  }
}

/** Checks that a class name can be the label of an answer. @throws UsageError if not */
export function checkLabelName(name: unknown): asserts name is string {
  checkAnswer('<OD>', { boxes: [{ label: name as string, box: [0, 0, 1, 1] }] });
}

/** Returns what is wrong if an image has another size than its annotations say, else undefined. */
export function sizeProblem(image: ImageSize, annotated: ImageSize | undefined): string | undefined {
  const { width, height } = image;
  if (!annotated || (annotated.width === width && annotated.height === height)) return undefined;
  const turned = annotated.width === height && annotated.height === width;
  const why = turned ? ' Was its EXIF orientation applied when it was annotated? If so, save the rotated image.' : '';
  return `The image is ${width}x${height}, but the annotations say ${annotated.width}x${annotated.height}.${why}`;
}

/** Returns the target with the region of its question clipped to the image. Annotations often reach beyond it. */
export const clipRegion = <T extends Target>(target: T, { width, height }: ImageSize): T =>
  target.box ? { ...target, box: clampBox(target.box, [0, 0, width, height]) } : target;
