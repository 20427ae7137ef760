import { type Command, InvalidArgumentError } from 'commander';
import { UsageError } from '../errors.ts';
import { type TaskArguments, taskText } from '../text/prompt.ts';
import { resolveTask, taskInfo } from '../text/tasks.ts';

/** Of a command that asks all images the same one thing. */
export interface QuestionFlags {
  task?: string;
  prompt?: string;
  text?: string;
  /** Of commands that take a region in pixels. */
  box?: number[];
}

export function addQuestionOptions(command: Command): Command {
  return command
    .option('-t, --task <name>', 'a task by name or token (od, caption, "<OCR>")')
    .option('-p, --prompt <text>', 'a prompt of your own, passed to the model as it is')
    .option('--text <text>', 'what a task is asked about: words, or a region as its four location tokens');
}

/** The task or prompt that is asked; undefined where there is none. */
export function readQuestion({
  task,
  prompt,
  text,
  box,
}: QuestionFlags): (TaskArguments & { task: string }) | undefined {
  if (task !== undefined && prompt !== undefined) throw new UsageError('Give a --task or a --prompt, not both.');
  if (prompt !== undefined) {
    if (text !== undefined || box !== undefined) {
      const flag = text !== undefined ? '--text' : '--box';
      throw new UsageError(`A prompt of its own takes no ${flag}: write it into the prompt.`);
    }
    return { task: prompt };
  }
  if (task === undefined) {
    if (text !== undefined) throw new UsageError('--text is what a --task is asked about: name the task.');
    if (box !== undefined) throw new UsageError('--box is what a --task is asked about: name the task.');
    return undefined;
  }
  const info = taskInfo(resolveTask(task));
  taskText(info.task, { text, box }, { width: 1, height: 1 }); // complains now, not after the model has been loaded
  return { task: info.task, ...(text !== undefined && { text }), ...(box !== undefined && { box }) };
}

export function parseCount(value: string): number {
  const count = Number(value);
  if (!Number.isSafeInteger(count) || count < 1) throw new InvalidArgumentError('Expected a whole number from 1.');
  return count;
}
