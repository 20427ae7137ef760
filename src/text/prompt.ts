import { UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { boxToTokens } from './locations.ts';
import { strip } from './python_strings.ts';
import { constructPrompt, findTask, type Task, taskInfo } from './tasks.ts';

/** The arguments of a task: the text or the region that it is about. */
export interface TaskArguments {
  /** For tasks with a text: the caption, phrase or class names. */
  text?: string;
  /** For tasks with a region: `[x1, y1, x2, y2]` in pixels. */
  box?: ArrayLike<number>;
}

/**
 * Returns a task token followed by its text or region, the input of `constructPrompt`: `<REGION_TO_OCR><loc_0>…`. A
 * region is given as `box`, or as `text` of its four location tokens.
 *
 * @param image size of the image that `box` refers to, in pixels
 * @throws UsageError if the task does not take these arguments
 */
export function taskText(task: Task, { text, box }: TaskArguments, image?: ImageSize): string {
  const { input, name } = taskInfo(task);
  const named = `Task ${task} (${name})`;
  const given = text === undefined ? '' : strip(text);
  if (input === 'none') {
    if (given || box) throw new UsageError(`${named} takes no ${box ? 'box' : 'text'}: it is about the whole image.`);
    return task;
  }
  if (input === 'text') {
    if (box) throw new UsageError(`${named} takes a text, not a box.`);
    if (!given) throw new UsageError(`${named} needs a text: the words to locate in the image.`);
    return task + given;
  }
  if (box && given) throw new UsageError(`${named} takes one region: a box or its location tokens, not both.`);
  if (box) {
    if (!image) throw new UsageError(`${named} needs the image size to convert the box.`);
    return task + boxToTokens(box, image);
  }
  if (/^(<loc_\d{1,3}>){4}$/.test(given)) return task + given;
  throw new UsageError(`${named} needs a region: a box x1,y1,x2,y2 in pixels, or its four location tokens.`);
}

/**
 * Returns the prompt that the model receives for a task: the task's question with its text or region filled in.
 *
 * @param task a task token, or a whole prompt: `constructPrompt` replaces a task token in it by its question
 * @param image size of the image that `box` refers to, in pixels
 * @throws UsageError if the task does not take these arguments, or a prompt comes with a text or a box
 */
export function promptOf(task: string, { text, box }: TaskArguments, image: ImageSize): string {
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
