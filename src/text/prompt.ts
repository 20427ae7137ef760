import { UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { boxToTokens } from './locations.ts';
import { strip } from './python_strings.ts';
import { constructPrompt, findTask, type Task, taskInfo } from './tasks.ts';

export interface TaskArguments {
  /** The caption, phrase or class names of a task that takes a text. */
  text?: string;
  /** The region of a task that takes one, `[x1, y1, x2, y2]` in pixels. */
  box?: ArrayLike<number>;
}

/**
 * A task and what it is asked about as one text, ready for `constructPrompt`: `<REGION_TO_OCR><loc_0>…`. A region may
 * also come as text that holds its four location tokens. `image` is the size that `box` counts in. Throws a UsageError
 * where the task takes something else than it was given.
 */
export function taskText(task: Task, { text, box }: TaskArguments, image?: ImageSize): string {
  const { input, name } = taskInfo(task);
  const named = `Task ${task} (${name})`;
  const given = text === undefined ? '' : strip(text);
  if (input === 'none') {
    if (given || box) throw new UsageError(`${named} takes no ${box ? 'box' : 'text'}: it looks at the whole image.`);
    return task;
  }
  if (input === 'text') {
    if (box) throw new UsageError(`${named} takes a text, not a box.`);
    if (!given) throw new UsageError(`${named} needs a text: the words to look for in the image.`);
    return task + given;
  }
  if (box && given) throw new UsageError(`${named} takes one region: give the box or its location tokens, not both.`);
  if (box) {
    if (!image) throw new UsageError(`${named} needs the image's size to place the box.`);
    return task + boxToTokens(box, image);
  }
  if (/^(<loc_\d{1,3}>){4}$/.test(given)) return task + given;
  throw new UsageError(`${named} needs a region: a box x1,y1,x2,y2 in pixels, or its four location tokens.`);
}

/**
 * Returns the prompt that the model receives for a task: the task's question with its text or region filled in.
 *
 * @param task a task token, or a whole prompt, in which a task token is replaced by its question (see `constructPrompt`)
 * @param image size of the image that `box` refers to, in pixels
 * @throws UsageError when the task does not take these arguments, or a prompt comes with a text or a box
 */
export function promptOf(task: string, { text, box }: TaskArguments, image: ImageSize): string {
  if (taskInfo(task)) return constructPrompt(taskText(task as Task, { text, box }, image));
  if (text !== undefined || box !== undefined) {
    const found = findTask(task);
    throw new UsageError(
      found
        ? `The prompt already holds what ${found.task} is asked: give the token alone, or no ${box ? 'box' : 'text'}.`
        : `A prompt of its own takes no ${box ? 'box' : 'text'}: write it into the prompt.`,
    );
  }
  return constructPrompt(task);
}
