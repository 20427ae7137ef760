import { UsageError } from '../errors.ts';
import { show } from '../show.ts';
import { strip } from '../text/python_strings.ts';
import { taskInfo } from '../text/tasks.ts';
import { ANSWER_FORMS, allowsEmptyAnswer } from './grammar.ts';

/**
 * Checks an answer that is given as text: it has the form of the task's answers, and its location tokens are `<loc_0>`
 * to `<loc_999>`.
 *
 * @throws UsageError that shows the text from the first error on
 */
export function checkAnswerText(task: string, text: string): void {
  checkLocationTokens(text, 'The answer');
  const ending = /<\/?s>|<pad>/.exec(text)?.[0];
  if (ending) throw new UsageError(`The answer contains ${ending}, which the tokenizer adds itself: remove it.`);
  const content = strip(text);
  if (content === '' && !allowsEmptyAnswer(task)) throw new UsageError(`The answer to ${describeTask(task)} is empty.`);
  const form = ANSWER_FORMS[taskInfo(task)?.answer ?? 'text'];
  if (!form) return;
  const rest = content.slice(form.pattern.exec(content)![0].length);
  if (rest === '') return;
  const from = rest === content ? '' : ' from here on';
  throw new UsageError(
    `${describeTask(task)} is answered by ${form.description}; the answer differs${from}: ${show(rest)}.`,
  );
}

/**
 * Checks that all location tokens of a text exist.
 *
 * @param what names the text in messages
 * @throws UsageError for tokens like `<loc_1000>`, `<loc_-1>` and `<loc_07>`
 */
export function checkLocationTokens(text: string, what: string): void {
  for (const [token] of text.matchAll(/<loc_[^<>]*>?/g)) {
    if (/^<loc_(0|[1-9]\d{0,2})>$/.test(token)) continue;
    throw new UsageError(
      `${what} contains ${token}, but location tokens are <loc_0> to <loc_999>: clamp coordinates on the right or bottom edge to 999.`,
    );
  }
}

/** Returns the name of a task in messages. */
export const describeTask = (task: string): string => (taskInfo(task) ? `Task ${task}` : 'A custom prompt');
