import { closest, distance } from 'fastest-levenshtein';
import { UsageError } from '../errors.ts';
import { strip } from './python_strings.ts';

/** What a task takes beside the image: nothing, a text (caption, phrase, class names), or a region of the image. */
export type TaskInput = 'none' | 'text' | 'region';

/** How a task answers, which is also the family of its result (see results/types.ts). */
export type AnswerKind = 'text' | 'boxes' | 'proposals' | 'phrases' | 'polygons' | 'boxes or polygons' | 'quads';

export interface TaskInfo {
  /** The token that names the task in a prompt. */
  readonly task: string;
  /** The friendly name, as the command takes it. */
  readonly name: string;
  readonly aliases: readonly string[];
  /** The question the model was trained on; `{input}` stands for the text or the region. */
  readonly prompt: string;
  readonly input: TaskInput;
  readonly answer: AnswerKind;
}

/**
 * The 15 tasks of Florence-2. The order matters: a prompt is searched for the tokens in this order, and the first one
 * found names the task.
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

/** A row as it stands, which ties each task to its kind of answer. */
export type TaskRow = (typeof TASKS)[number];

export type Task = TaskRow['task'];

/** The tasks that answer in one way: `TaskOf<'boxes'>` is `'<OD>' | '<DENSE_REGION_CAPTION>'`. */
export type TaskOf<A extends AnswerKind> = Extract<TaskRow, { answer: A }>['task'];

/** The table's row for a task token, or undefined for any other text. */
export function taskInfo(task: Task): TaskRow;
export function taskInfo(task: string): TaskRow | undefined;
export function taskInfo(task: string): TaskRow | undefined {
  return TASKS.find(row => row.task === task);
}

/** The task that a prompt names, by the first token of the table that occurs anywhere in it. */
export function findTask(text: string): TaskRow | undefined {
  return TASKS.find(row => text.includes(row.task));
}

/**
 * The question that goes to the model: the task's own words in place of its token. Text without a task token is a
 * prompt of its own and comes back as it is. `trim` removes white space around the input, as transformers' processor
 * does; Microsoft's, the default here, keeps it. Throws where a task that takes no input is not the whole text.
 */
export function constructPrompt(text: string, options: { trim?: boolean } = {}): string {
  const found = findTask(text);
  if (!found) return text;
  if (found.input === 'none') {
    if (text === found.task) return found.prompt;
    throw new UsageError(
      `Task ${found.task} takes no input: it must be the whole prompt, but the prompt is ${quote(text)}.`,
    );
  }
  const input = text.replaceAll(found.task, '');
  return found.prompt.replace('{input}', () => (options.trim ? strip(input) : input));
}

/**
 * The task token for a name: the token itself, in any case and with or without its brackets, or a friendly name
 * (`od`, `detect`, `caption`, `region-ocr`, …). Throws a UsageError that suggests the nearest name for any other.
 */
export function resolveTask(name: string): Task {
  const wanted = normalise(name);
  const found = TASKS.find(row => spellings(row).includes(wanted));
  if (found) return found.task;
  const near = suggestTask(name);
  const hint = near ? `Did you mean "${near}"?` : `The tasks are: ${TASKS.map(row => row.name).join(', ')}.`;
  throw new UsageError(`Unknown task ${quote(name)}. ${hint}`);
}

/** The known name nearest to a mistyped one, or undefined where none is near (more than a third of it is wrong). */
export function suggestTask(name: string): string | undefined {
  const wanted = normalise(name);
  const near = closest(wanted, TASKS.flatMap(spellings));
  return distance(wanted, near) <= Math.max(1, near.length / 3) ? near : undefined;
}

const normalise = (name: string): string =>
  strip(name)
    .replace(/^<|>$/g, '')
    .toLowerCase()
    .replace(/[_\s]+/g, '-');

const spellings = (row: TaskInfo): string[] => [row.name, normalise(row.task), ...row.aliases];

const quote = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);

/** What a task's losses and metrics go by: its token. For a prompt of your own the tag it begins with, else `prompt`. */
export function taskKey(task: string): string {
  return findTask(task)?.task ?? /^<[^<>\s]+>/.exec(task)?.[0] ?? 'prompt';
}
