import { type Command, InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../errors.ts';
import { backendNames } from '../runtime/backend.ts';
import { type TaskArguments, taskText } from '../text/prompt.ts';
import { resolveTask, taskInfo } from '../text/tasks.ts';

export const backendChoices = ['auto', ...backendNames];

/** The options that say which model runs, and where. */
export function addModelOptions(command: Command): Command {
  return command
    .option('-m, --model <dir|id>', 'a folder, or an id on the Hugging Face hub', 'microsoft/Florence-2-base')
    .option('--revision <name>', 'branch, tag or commit on the hub')
    .option('--adapter <dir>', 'a LoRA adapter, a folder as PEFT saves it')
    .addOption(new Option('-b, --backend <name>', 'where it runs').choices(backendChoices).default('auto'));
}

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

export function collect(value: string, previous: string[]): string[] {
  return [...previous, value];
}

export function parseScore(value: string): number {
  const score = Number(value);
  if (value.trim() === '' || !(score >= 0 && score <= 1))
    throw new InvalidArgumentError('Expected a number from 0 to 1.');
  return score;
}

export function parseBox(value: string): number[] {
  const box = value.split(',').map(part => (part.trim() === '' ? Number.NaN : Number(part)));
  if (box.length !== 4 || !box.every(Number.isFinite)) {
    throw new InvalidArgumentError('Expected four numbers in pixels: x1,y1,x2,y2.');
  }
  if (box[2] < box[0] || box[3] < box[1]) throw new InvalidArgumentError('Expected x1 <= x2 and y1 <= y2.');
  return box;
}
