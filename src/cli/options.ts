import { type Command, InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../errors.ts';
import type { DecodeOptions } from '../image/types.ts';
import type { BackendName } from '../runtime/backend.ts';
import { checkArguments, type TaskArguments } from '../text/prompt.ts';
import { resolveTask, taskInfo } from '../text/tasks.ts';
import { count, type Kind } from './kinds.ts';

/** Repeats the names of runtime/backend.ts, which loads TensorFlow.js. The type check fails if a name is missing. */
const BACKENDS: Record<BackendName | 'auto', true> = {
  auto: true,
  tensorflow: true,
  webgpu: true,
  wasm: true,
  cpu: true,
};
export const BACKEND_CHOICES = Object.keys(BACKENDS);

export const MODEL_HELP =
  '"demo" (a small model in this package), a folder, or an id on the Hugging Face hub (owner/name)';
export const IMAGES_HELP = 'image files, PDF files, folders, glob patterns, URLs, or - for standard input';
export const REVISION_HELP = 'branch, tag or commit on the hub';
export const SUBFOLDER_HELP = 'folder of the checkpoint in its repository or folder; default: the top';
export const PROCESSOR_HELP =
  'checkpoint whose tokenizer and image settings are used, for models without them; default: the model';
export const BACKEND_HELP = 'TensorFlow.js backend; auto: the fastest one that works';
export const IMAGE_SIZE_HELP = 'side in pixels to which images are resized; default: from the checkpoint';

export const backendOption = (): Option =>
  new Option('-b, --backend <name>', BACKEND_HELP).choices(BACKEND_CHOICES).default('auto');

/** Adds `-o, --out`, and its earlier name `--output`, which the help does not show. */
export function addOutOption(command: Command, value: '<file>' | '<dir>', help: string, required = true): Command {
  const out = new Option(`-o, --out ${value}`, help).makeOptionMandatory(required);
  return command.addOption(out).addOption(hiddenAlias('output', out));
}

/** Returns another name of a flag with a value, which the help does not show. */
export function hiddenAlias(name: string, option: Option): Option {
  const alias = new Option(option.flags.replace(/^.*--\S+/, `--${name}`)).hideHelp();
  alias.attributeName = () => option.attributeName();
  return option.parseArg ? alias.argParser(option.parseArg) : alias;
}

/** Adds the flags that select the model and the backend. */
export function addModelOptions(command: Command): Command {
  return command
    .option('-m, --model <model>', MODEL_HELP, 'microsoft/Florence-2-base')
    .option('--revision <name>', REVISION_HELP)
    .option('--subfolder <path>', SUBFOLDER_HELP)
    .option('--processor <model>', PROCESSOR_HELP)
    .option('--adapter <adapter>', "LoRA adapter in PEFT's format: a folder, or an id on the hub (owner/name)")
    .option('--adapter-revision <name>', 'branch, tag or commit of the adapter on the hub')
    .addOption(backendOption());
}

/** Adds the flags that control how images are read. */
export function addImageOptions(command: Command): Command {
  return command
    .option('--image-size <pixels>', IMAGE_SIZE_HELP, parser(count))
    .addOption(
      new Option(
        '--orientation <how>',
        'read images as stored, or upright by their EXIF orientation (apply); places are in the stored image either way',
      )
        .choices(['stored', 'apply'])
        .default(undefined, 'stored, with a warning'),
    )
    .addOption(new Option('--apply-orientation').implies({ orientation: 'apply' }).hideHelp())
    .option('--max-pixels <n>', 'refuse images with more pixels than this; default: 178956970', parser(count));
}

/** Flags of `addImageOptions`, without that of the size, which belongs to the model. */
export type ImageFlags = Pick<DecodeOptions, 'orientation' | 'maxPixels'>;

/** Returns those flags as options of `decodeImage`. */
export const imageOptions = ({ orientation, maxPixels }: ImageFlags): DecodeOptions => ({ orientation, maxPixels });

/** Flags of commands that run one task or prompt on all images. */
export interface QuestionFlags {
  task?: string;
  prompt?: string;
  text?: string;
  /** [x1, y1, x2, y2] in pixels. Only some commands have --box. */
  box?: number[];
}

export function addQuestionOptions(command: Command): Command {
  return command
    .option('-t, --task <name>', 'task by name or token (od, caption, "<OCR>")')
    .option('-p, --prompt <text>', 'custom prompt, passed to the model unchanged')
    .option('--text <text>', 'text input of a task: words, or a region as its four location tokens');
}

export type TaskRequest = TaskArguments & { task: string };

/**
 * Returns the task or prompt of the flags, or undefined if they name neither.
 *
 * @throws UsageError for flags that contradict each other, and for a task without the input that it needs
 */
export function readQuestion({ task, prompt, text, box }: QuestionFlags): TaskRequest | undefined {
  if (task !== undefined && prompt !== undefined) throw new UsageError('Give either --task or --prompt, not both.');
  if (prompt !== undefined) {
    if (text !== undefined || box !== undefined) {
      const flag = text !== undefined ? '--text' : '--box';
      throw new UsageError(`--prompt takes no ${flag}: write the input into the prompt.`);
    }
    return { task: prompt };
  }
  if (task === undefined) {
    if (text !== undefined) throw new UsageError('--text is the input of a task: name the task with --task.');
    if (box !== undefined) throw new UsageError('--box is the input of a task: name the task with --task.');
    return undefined;
  }
  const info = taskInfo(resolveTask(task));
  checkArguments(info.task, { text, box }); // reports missing input before the model is loaded
  return { task: info.task, ...(text !== undefined && { text }), ...(box !== undefined && { box }) };
}

/** Returns the same for commands that need a task or a prompt. Throws a UsageError if the flags name neither. */
export function requireQuestion(flags: QuestionFlags): TaskRequest {
  const question = readQuestion(flags);
  if (!question) throw new UsageError('A task is required: give --task or --prompt.');
  return question;
}

/** Returns a commander parser for values of a kind. */
export function parser(kind: Kind): (text: string, previous: unknown) => unknown {
  const parse = (text: string, previous: unknown): unknown => {
    const value = kind.read(text);
    if (!kind.allows(value)) throw new InvalidArgumentError(`Expected ${kind.expected}.`);
    return kind.repeatable ? collect(value, previous as unknown[]) : value;
  };
  if (kind.repeatable) collectors.add(parse);
  return parse;
}

/** A commander parser for repeatable options: appends a value to the previous ones. */
export function collect(value: unknown, previous: unknown[] = []): unknown[] {
  return [...previous, value];
}

/** The parsers of flags that may be repeated. */
const collectors = new Set<unknown>([collect]);

/** Whether a flag may be given several times. */
export const isRepeatable = ({ parseArg }: Option): boolean => collectors.has(parseArg);

/** A commander parser for a box in pixels, `x1,y1,x2,y2`. */
export function parseBox(value: string): number[] {
  const box = value.split(',').map(part => (part.trim() === '' ? Number.NaN : Number(part)));
  if (box.length !== 4 || !box.every(Number.isFinite)) {
    throw new InvalidArgumentError('Expected four numbers in pixels: x1,y1,x2,y2.');
  }
  if (box[2] < box[0] || box[3] < box[1]) throw new InvalidArgumentError('Expected x1 <= x2 and y1 <= y2.');
  return box;
}
