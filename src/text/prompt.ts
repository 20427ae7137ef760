import { UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { anything, type OptionTable } from '../options.ts';
import { show } from '../show.ts';
import { boxToTokens } from './locations.ts';
import { strip } from './python_strings.ts';
import { constructPrompt, findTask, type RowOf, readTask, type Task, type TaskName, taskInfo } from './tasks.ts';

/** The arguments of a task: the text or the region that it is about. */
export interface TaskArguments {
  /**
   * For tasks with a text: the caption, phrase or class names. Grounding and open-vocabulary detection take a list of
   * phrases or class names too.
   */
  text?: string | readonly string[];
  /**
   * For tasks with a region: `[x1, y1, x2, y2]` in pixels. Its corners may be up to one pixel outside the image; they
   * are clipped.
   */
  box?: ArrayLike<number>;
}

/**
 * The arguments that a task takes: `ArgumentsOf<'<OD>'>` has none, `ArgumentsOf<'grounding'>` requires a text. Those of
 * a prompt, or of a task that is not known to the type check, are `TaskArguments`.
 */
export type ArgumentsOf<T extends string> = [Task] extends [T] ? TaskArguments : ArgumentsOfEach<T>;

type ArgumentsOfEach<T extends string> = T extends Task | TaskName ? InputArguments[RowOf<T>['input']] : TaskArguments;

interface InputArguments {
  none: { text?: undefined; box?: undefined };
  text: { text: string | readonly string[]; box?: undefined };
  region: { box: ArrayLike<number>; text?: undefined } | { text: string; box?: undefined };
}

/** The kinds of the arguments of a task; `taskText` checks their values. */
export const TASK_ARGUMENTS: OptionTable<TaskArguments> = { text: anything, box: anything };

/**
 * Returns a task token followed by its text or region, the input of `constructPrompt`: `<REGION_TO_OCR><loc_0>…`. A
 * region is given as `box`, or as `text` of its four location tokens. A list of texts is joined by `<and>`, as in other
 * programs for these checkpoints.
 *
 * @param image size of the image that `box` refers to, in pixels
 * @throws UsageError if the task does not take these arguments
 */
export function taskText(task: Task, { text, box }: TaskArguments, image?: ImageSize): string {
  checkArguments(task, { text, box });
  if (!box) return task + joinText(text);
  if (image) return task + boxToTokens(checkRegion(box, image), image);
  throw new UsageError(`${named(task)} needs the image size to convert the box.`);
}

/**
 * Checks that a task takes these arguments, as far as this is possible without the image.
 *
 * @throws UsageError if not
 */
export function checkArguments(task: Task, { text, box }: TaskArguments): void {
  const { input, answer } = taskInfo(task);
  const name = named(task);
  const given = joinText(text);
  if (input === 'none') {
    if (given || box) throw new UsageError(`${name} takes no ${box ? 'box' : 'text'}: it is about the whole image.`);
    return;
  }
  if (input === 'text') {
    if (box) throw new UsageError(`${name} takes a text, not a box.`);
    if (!given) throw new UsageError(`${name} needs a text: the words to locate in the image.`);
    if (Array.isArray(text) && text.length > 1 && answer === 'polygons') {
      throw new UsageError(`${name} takes a single expression, not a list of ${text.length}: ask for each of them.`);
    }
    return;
  }
  if (box && given) throw new UsageError(`${name} takes one region: a box or its location tokens, not both.`);
  if (box ?? /^(<loc_\d{1,3}>){4}$/.test(given)) return;
  throw new UsageError(`${name} needs a region: a box x1,y1,x2,y2 in pixels, or its four location tokens.`);
}

const named = (task: Task): string => `Task ${task} (${taskInfo(task).name})`;

/** Returns a text, or the texts of a list, without white space at the ends. */
function joinText(text: TaskArguments['text']): string {
  const texts = Array.isArray(text) ? text : [text ?? ''];
  if (!texts.every(one => typeof one === 'string')) {
    throw new UsageError(`text must be a text or a list of texts, not ${show(text)}.`);
  }
  const words = texts.map(strip);
  if (words.length > 1 && words.includes('')) throw new UsageError('text is a list with an empty text.');
  return words.join('<and>');
}

/** Returns a box unchanged. @throws UsageError unless it is in the image, or at most one pixel outside */
function checkRegion(box: ArrayLike<number>, { width, height }: ImageSize): ArrayLike<number> {
  const [x1, y1, x2, y2] = fourNumbers(box);
  if (x1 > x2 || y1 > y2) throw new UsageError(`The box ${x1},${y1},${x2},${y2} has x1 > x2 or y1 > y2.`);
  if (x1 >= -1 && y1 >= -1 && x2 <= width + 1 && y2 <= height + 1) return box;
  throw new UsageError(
    `The box ${x1},${y1},${x2},${y2} is not within the image, which has ${width} × ${height} pixels.`,
  );
}

function fourNumbers(box: ArrayLike<number>): number[] {
  if (typeof box === 'object' && box.length === 4 && Array.from(box).every(Number.isFinite)) return Array.from(box);
  throw new UsageError(`box must be a list of four numbers of pixels x1,y1,x2,y2, not ${show(box)}.`);
}

/**
 * Returns the prompt that the model receives for a task: the task's question with its text or region filled in.
 *
 * @param name the name of a task, its token, or a whole prompt: `constructPrompt` replaces a task token in it by its
 *   question
 * @param image size of the image that `box` refers to, in pixels
 * @throws UsageError if the task is mistyped or does not take these arguments, or a prompt comes with a text or a box
 */
export function promptOf(name: string, { text, box }: TaskArguments, image: ImageSize): string {
  const task = readTask(name);
  if (taskInfo(task)) return constructPrompt(taskText(task as Task, { text, box }, image));
  if (text !== undefined || box !== undefined) {
    const found = findTask(task);
    throw new UsageError(
      found
        ? `The prompt already contains the input of ${found.task}: give the token alone as the task, or leave out the ${box ? 'box' : 'text'}.`
        : `A custom prompt takes no ${box ? 'box' : 'text'}: write it into the prompt.`,
    );
  }
  return constructPrompt(task);
}

/** Returns what is wrong if a prompt does not fit into the encoder's positions after an image, else undefined. */
export const promptProblem = (promptTokens: number, imageTokens: number, positions: number): string | undefined =>
  imageTokens + promptTokens <= positions
    ? undefined
    : `The prompt has ${promptTokens} tokens and the image ${imageTokens}, but the model has ${positions} positions. Use a shorter text.`;
