import { type Command, InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../errors.ts';
import type { RunOptions } from '../florence2.ts';
import type { BackendName } from '../runtime/backend.ts';
import { type TaskArguments, taskText } from '../text/prompt.ts';
import { resolveTask, taskInfo } from '../text/tasks.ts';
import { count, type Kind } from './kinds.ts';

/** Named here once more because runtime/backend.ts loads TensorFlow.js. The compiler checks that none is missing. */
const BACKENDS: Record<BackendName | 'auto', true> = {
  auto: true,
  tensorflow: true,
  webgpu: true,
  wasm: true,
  cpu: true,
};
export const backendChoices = Object.keys(BACKENDS);

export const MODEL_HELP = '"demo", a folder, or an id on the Hugging Face hub (owner/name)';
export const REVISION_HELP = 'branch, tag or commit on the hub';
export const BACKEND_HELP = 'backend of TensorFlow.js; auto: the fastest that works';
export const IMAGE_SIZE_HELP = "side in pixels to which images are resized; default: the checkpoint's";

export const backendOption = (): Option =>
  new Option('-b, --backend <name>', BACKEND_HELP).choices(backendChoices).default('auto');

/** The options that say which model runs, and on which backend. */
export function addModelOptions(command: Command): Command {
  return command
    .option('-m, --model <model>', MODEL_HELP, 'microsoft/Florence-2-base')
    .option('--revision <name>', REVISION_HELP)
    .option('--adapter <dir>', "folder of a LoRA adapter in PEFT's format")
    .addOption(backendOption());
}

/** The options that say how images are read. */
export function addImageOptions(command: Command): Command {
  return command
    .option('--image-size <pixels>', IMAGE_SIZE_HELP, parser(count))
    .option('--apply-orientation', 'turn photos as their EXIF orientation says');
}

/** The flags of `addAnswerOptions`. */
export interface AnswerFlags {
  beams?: number;
  maxNewTokens?: number;
  keepUnicode?: boolean;
}

/** The options that say how answers are generated. */
export function addAnswerOptions(command: Command): Command {
  return command
    .option('--beams <n>', 'beams of the beam search, 1 for greedy', parser(count))
    .option('--max-new-tokens <n>', 'longest answer', parser(count))
    .option('--keep-unicode', 'keep characters outside ASCII in labels');
}

export function answerOptions({ beams: numBeams, maxNewTokens, keepUnicode }: AnswerFlags): RunOptions {
  return { numBeams, maxNewTokens, keepUnicode };
}

/** The flags of commands that put one question to all images. */
export interface QuestionFlags {
  task?: string;
  prompt?: string;
  text?: string;
  /** [x1, y1, x2, y2] in pixels, for commands that have --box. */
  box?: number[];
}

export function addQuestionOptions(command: Command): Command {
  return command
    .option('-t, --task <name>', 'a task by name or token (od, caption, "<OCR>")')
    .option('-p, --prompt <text>', 'a prompt of your own, passed to the model as it is')
    .option('--text <text>', 'what a task is asked about: words, or a region as its four location tokens');
}

export type TaskRequest = TaskArguments & { task: string };

/** The task or prompt of the flags; undefined where they name neither. Checks what the task needs. */
export function readQuestion({ task, prompt, text, box }: QuestionFlags): TaskRequest | undefined {
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

/** The same for commands that need a question. */
export function requireQuestion(flags: QuestionFlags): TaskRequest {
  const question = readQuestion(flags);
  if (!question) throw new UsageError('Nothing is asked: name a --task or a --prompt.');
  return question;
}

/** Reads a kind of value for commander. */
export const parser =
  (kind: Kind) =>
  (text: string, previous: unknown): unknown => {
    const value = kind.read(text);
    if (!kind.allows(value)) throw new InvalidArgumentError(`Expected ${kind.expected}.`);
    return kind.repeatable ? collect(value, previous as unknown[]) : value;
  };

/** The values of an option that may be repeated. */
export function collect(value: unknown, previous: unknown[] = []): unknown[] {
  return [...previous, value];
}

export function parseBox(value: string): number[] {
  const box = value.split(',').map(part => (part.trim() === '' ? Number.NaN : Number(part)));
  if (box.length !== 4 || !box.every(Number.isFinite)) {
    throw new InvalidArgumentError('Expected four numbers in pixels: x1,y1,x2,y2.');
  }
  if (box[2] < box[0] || box[3] < box[1]) throw new InvalidArgumentError('Expected x1 <= x2 and y1 <= y2.');
  return box;
}
