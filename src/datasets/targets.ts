import { distance } from 'fastest-levenshtein';
import { UsageError } from '../errors.ts';
import { show } from '../json.ts';
import { checkBox } from '../results/check_fields.ts';
import { checkLocationTokens } from '../results/check_text.ts';
import { checkAnswer } from '../results/format.ts';
import { taskText } from '../text/prompt.ts';
import { strip } from '../text/python_strings.ts';
import { findTask, resolveTask, suggestTask, taskInfo } from '../text/tasks.ts';
import type { Target } from './example.ts';

/** Throws a UsageError where a task is not asked as it must be, or not answered, naming the field. */
export function checkTarget(target: Target): void {
  checkQuestion(target);
  checkAnswer(target.task, target.answer);
}

/** A prompt as the task that it names and what the task is asked about; without a task it is a prompt of its own. */
export function splitPrompt(prompt: string): { task: string; text?: string } {
  const row = findTask(prompt);
  if (!row) return { task: prompt };
  const text = strip(prompt.replaceAll(row.task, ''));
  return text === '' ? { task: row.task } : { task: row.task, text };
}

/**
 * The task that a prompt of its own seems to mean, by the tag that it begins with, or by all of it. Sure of it where the
 * spelling is that of a name but for upper case and a letter in six.
 */
export function meantTask(prompt: string): { task: string; sure: boolean } | undefined {
  const tag = /^<([^<>]*)>/.exec(prompt)?.[1] ?? prompt;
  const name = suggestTask(tag);
  if (taskInfo(prompt) || name === undefined) return undefined;
  const spelt = strip(tag)
    .toLowerCase()
    .replace(/[_\s]+/g, '-');
  return { task: resolveTask(name), sure: distance(spelt, name) <= Math.floor(name.length / 6) };
}

/** In place of the image's size, where only the form of a region is looked at. */
const ANY_SIZE = { width: 1, height: 1 };

function checkQuestion({ task, text, box }: Target): void {
  if (typeof task !== 'string') throw new UsageError(`task is ${show(task)}, expected a task token or a prompt.`);
  if (text !== undefined && typeof text !== 'string') throw new UsageError(`text is ${show(text)}, expected words.`);
  if (box !== undefined) checkBox(box, 'box');
  checkLocationTokens(text ?? task, 'The prompt');
  const row = taskInfo(task);
  if (row) {
    taskText(row.task, { text, box }, ANY_SIZE);
    return;
  }
  const inside = findTask(task);
  if (inside) {
    throw new UsageError(
      `The prompt ${show(task)} holds ${inside.task}: give the token alone as the task, and the rest as its text.`,
    );
  }
  if (strip(task) === '') throw new UsageError('The prompt is empty: give a task token, or a prompt of your own.');
  const meant = meantTask(task);
  if (meant?.sure) throw new UsageError(`${show(task)} is no task token. Did you mean ${meant.task}?`);
  if (text !== undefined || box !== undefined) {
    throw new UsageError(`${show(task)} names no task, and a prompt of your own takes no ${box ? 'box' : 'text'}.`);
  }
}

/** Throws a UsageError for the name of a class that no answer can hold. */
export function checkLabelName(name: unknown): asserts name is string {
  checkAnswer('<OD>', { boxes: [{ label: name as string, box: [0, 0, 1, 1] }] });
}
