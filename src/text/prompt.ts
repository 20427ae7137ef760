import { UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { boxToTokens } from './locations.ts';
import { strip } from './python_strings.ts';
import { findTask, type Task, taskInfo } from './tasks.ts';

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
 * A request as one text: the task token with what it is asked about (see `taskText`), or the caller's own prompt as it
 * is. Throws a UsageError where a prompt of its own comes with a text or a box.
 */
export function requestText(task: string, { text, box }: TaskArguments, image: ImageSize): string {
  const named = taskInfo(task);
  if (named) return taskText(task as Task, { text, box }, image);
  if (text !== undefined || box !== undefined) {
    const found = findTask(task);
    throw new UsageError(
      found
        ? `The prompt already holds what ${found.task} is asked: give the token alone, or no ${box ? 'box' : 'text'}.`
        : `A prompt of its own takes no ${box ? 'box' : 'text'}: write it into the prompt.`,
    );
  }
  return task;
}
