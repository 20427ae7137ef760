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

/**
 * Returns the task that a custom prompt may be a misspelling of, judged by the tag at its beginning, or by the whole
 * prompt. `sure` if it differs from a task's name only in case and in at most one letter of six.
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

/** Used to check a region without its image. */
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
      `The prompt ${show(task)} contains ${inside.task}: give the token as the task, and the rest as its text.`,
    );
  }
  if (strip(task) === '') throw new UsageError('The prompt is empty: give a task token or a custom prompt.');
  const meant = meantTask(task);
  if (meant?.sure) throw new UsageError(`${show(task)} is not a task token. Did you mean ${meant.task}?`);
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
