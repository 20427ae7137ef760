import { UsageError } from '../errors.ts';
import { editDistance, nearestName } from '../names.ts';
import { show } from '../show.ts';
import { strip } from './python_strings.ts';

/** Input of a task in addition to the image: none, a text (caption, phrase, class names) or a region of the image. */
export type TaskInput = 'none' | 'text' | 'region';

/** Form of a task's answer, which determines the type of its result (see results/types.ts). */
export type AnswerKind = 'text' | 'boxes' | 'proposals' | 'phrases' | 'polygons' | 'boxes or polygons' | 'quads';

/** A row of `TASKS`. */
export interface TaskInfo {
  /** Token of the task in a prompt. */
  readonly task: string;
  /** Name of the task on the command line. */
  readonly name: string;
  /** Other names that `resolveTask` accepts. */
  readonly aliases: readonly string[];
  /** Question that the model was trained on; `{input}` is replaced by the text or the region. */
  readonly prompt: string;
  readonly input: TaskInput;
  readonly answer: AnswerKind;
}

/**
 * The 15 tasks of Florence-2. `findTask` searches a prompt for their tokens in this order; the first match is the task.
 */
// biome-ignore format: one task a line reads as the table it is
export const TASKS = [
  { task: '<OCR>', name: 'ocr', aliases: [], input: 'none', answer: 'text',
    prompt: 'What is the text in the image?' },
  { task: '<OCR_WITH_REGION>', name: 'ocr-with-region', aliases: ['ocr-regions'], input: 'none', answer: 'quads',
    prompt: 'What is the text in the image, with regions?' },
  { task: '<CAPTION>', name: 'caption', aliases: [], input: 'none', answer: 'text',
    prompt: 'What does the image describe?' },
  { task: '<DETAILED_CAPTION>', name: 'detailed-caption', aliases: [], input: 'none', answer: 'text',
    prompt: 'Describe in detail what is shown in the image.' },
  { task: '<MORE_DETAILED_CAPTION>', name: 'more-detailed-caption', aliases: [], input: 'none', answer: 'text',
    prompt: 'Describe with a paragraph what is shown in the image.' },
  { task: '<OD>', name: 'od', aliases: ['detect', 'detection', 'object-detection'], input: 'none', answer: 'boxes',
    prompt: 'Locate the objects with category name in the image.' },
  { task: '<DENSE_REGION_CAPTION>', name: 'dense-region-caption', aliases: [], input: 'none', answer: 'boxes',
    prompt: 'Locate the objects in the image, with their descriptions.' },
  { task: '<REGION_PROPOSAL>', name: 'region-proposal', aliases: ['proposals'], input: 'none', answer: 'proposals',
    prompt: 'Locate the region proposals in the image.' },
  { task: '<CAPTION_TO_PHRASE_GROUNDING>', name: 'grounding', aliases: ['phrase-grounding'], input: 'text', answer: 'phrases',
    prompt: 'Locate the phrases in the caption: {input}' },
  { task: '<REFERRING_EXPRESSION_SEGMENTATION>', name: 'referring-segmentation', aliases: [], input: 'text', answer: 'polygons',
    prompt: 'Locate {input} in the image with mask' },
  { task: '<REGION_TO_SEGMENTATION>', name: 'region-segmentation', aliases: [], input: 'region', answer: 'polygons',
    prompt: 'What is the polygon mask of region {input}' },
  { task: '<OPEN_VOCABULARY_DETECTION>', name: 'open-vocabulary-detection', aliases: ['ovd'], input: 'text', answer: 'boxes or polygons',
    prompt: 'Locate {input} in the image.' },
  { task: '<REGION_TO_CATEGORY>', name: 'region-category', aliases: [], input: 'region', answer: 'text',
    prompt: 'What is the region {input}?' },
  { task: '<REGION_TO_DESCRIPTION>', name: 'region-description', aliases: [], input: 'region', answer: 'text',
    prompt: 'What does the region {input} describe?' },
  { task: '<REGION_TO_OCR>', name: 'region-ocr', aliases: [], input: 'region', answer: 'text',
    prompt: 'What text is in the region {input}?' },
] as const satisfies readonly TaskInfo[];

/** A row of `TASKS` with literal types, which relate each task to the form of its answer. */
export type TaskRow = (typeof TASKS)[number];

/** A task token. */
export type Task = TaskRow['task'];

/** The name of a task on the command line, or an alias. */
export type TaskName = TaskRow['name'] | TaskRow['aliases'][number];

/** The row of a task token or name; `never` for other texts. */
export type RowOf<N extends string, R extends TaskRow = TaskRow> = R extends TaskRow
  ? N extends R['task'] | R['name'] | R['aliases'][number]
    ? R
    : never
  : never;

/** The tasks with one form of answer: `TaskOf<'boxes'>` is `'<OD>' | '<DENSE_REGION_CAPTION>'`. */
export type TaskOf<A extends AnswerKind> = Extract<TaskRow, { answer: A }>['task'];

/** Returns the row of a task token, or undefined for any other text. */
export function taskInfo(task: Task): TaskRow;
export function taskInfo(task: string): TaskRow | undefined;
export function taskInfo(task: string): TaskRow | undefined {
  return TASKS.find(row => row.task === task);
}

/** Returns the task of a prompt: the first in `TASKS` whose token occurs anywhere in it. */
export function findTask(text: string): TaskRow | undefined {
  return TASKS.find(row => text.includes(row.task));
}

/**
 * Returns the prompt for the model: a task token is replaced by the task's question, with the rest of the text as its
 * input. Text without a task token is returned unchanged.
 *
 * @param options.trim removes white space around the input, as transformers' processor does. Default false, as in
 *   Microsoft's
 * @throws UsageError if a task without input is not the whole text
 */
export function constructPrompt(text: string, options: { trim?: boolean } = {}): string {
  const found = findTask(text);
  if (!found) return text;
  if (found.input === 'none') {
    if (text === found.task) return found.prompt;
    throw new UsageError(
      `Task ${found.task} takes no input: its token must be the whole prompt, but the prompt is ${quote(text)}.`,
    );
  }
  const input = text.replaceAll(found.task, '');
  return found.prompt.replace('{input}', () => (options.trim ? strip(input) : input));
}

/**
 * Returns the task token for a name: the token in any case, with or without brackets, or a name or alias (`od`,
 * `detect`, `caption`, `region-ocr`, …).
 *
 * @throws UsageError for any other name, with the nearest known one
 */
export function resolveTask(name: string): Task {
  const found = rowNamed(name);
  if (found) return found.task;
  const near = suggestTask(name);
  throw unknownTask(name, near === undefined ? undefined : `"${near}"`);
}

/**
 * Returns the task token for the name of a task, like `resolveTask`, and any other text unchanged: it is a token with
 * the task's text, or a custom prompt.
 *
 * @throws UsageError if the text is empty or the misspelling of a task
 */
export function readTask(task: string): string {
  if (typeof task !== 'string') {
    throw new UsageError(`The task must be a task name, a task token or a prompt, not ${show(task)}.`);
  }
  if (strip(task) === '') throw new UsageError('The task is empty: give a task name, a task token or a prompt.');
  if (findTask(task)) return task;
  const named = rowNamed(task);
  const meant = named ? undefined : mistypedTask(task);
  if (meant) throw unknownTask(task, task.startsWith('<') ? meant.task : `"${meant.name}"`);
  return named?.task ?? task;
}

/** Returns the task that the answer belongs to: its token, or the custom prompt. @throws UsageError as `readTask` */
export function answeredTask(task: string): string {
  const read = readTask(task);
  return findTask(read)?.task ?? read;
}

/**
 * Returns the task that a prompt misspells: its tag at the beginning (`<CAPTON>`), or the whole prompt if it is one word
 * (`captoin`), is a task's name, or differs from it in at most one letter of four.
 */
export function mistypedTask(prompt: string): TaskRow | undefined {
  const word = normalise(/^<([^<>]*)>/.exec(prompt)?.[1] ?? (/\s/.test(strip(prompt)) ? '' : prompt));
  const exact = rowNamed(word);
  if (exact) return exact;
  const names = TASKS.flatMap(row => [row.name, normalise(row.task)]);
  const near = word === '' ? undefined : nearestName(word, names);
  if (near === undefined) return undefined;
  return editDistance(word, near) <= Math.floor(near.length / 4) ? rowNamed(near) : undefined;
}

function unknownTask(name: string, near: string | undefined): UsageError {
  const hint = near ? `Did you mean ${near}?` : `The tasks are: ${TASKS.map(row => row.name).join(', ')}.`;
  return new UsageError(`Unknown task ${quote(name)}. ${hint}`, { code: 'UNKNOWN_TASK' });
}

const rowNamed = (name: string): TaskRow | undefined => TASKS.find(row => spellings(row).includes(normalise(name)));

/** Returns the known name nearest to a mistyped one, or undefined if more than a third of it differs. */
export function suggestTask(name: string): string | undefined {
  return nearestName(normalise(name), TASKS.flatMap(spellings));
}

const normalise = (name: string): string =>
  strip(name)
    .replace(/^<|>$/g, '')
    .toLowerCase()
    .replace(/[_\s]+/g, '-');

const spellings = (row: TaskInfo): string[] => [row.name, normalise(row.task), ...row.aliases];

const quote = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);

/**
 * Returns the name by which losses and metrics are grouped: the task token; for other prompts the tag at their start,
 * or `prompt` if they have none.
 */
export function taskKey(task: string): string {
  return findTask(task)?.task ?? /^<[^<>\s]+>/.exec(task)?.[0] ?? 'prompt';
}
