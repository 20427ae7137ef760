import type { ImageSize } from '../../geometry/types.ts';
import { checkOptions, type OptionTable, onOff, share } from '../../options.ts';
import { strip } from '../../text/python_strings.ts';
import { answeredTask, type Task, type TaskName, taskInfo } from '../../text/tasks.ts';
import type { ResultOf, TaskResult } from '../types.ts';
import { type Answer, readAnswer } from './answer.ts';
import { parseBoxes, parsePhrases, parseProposals, parseQuads } from './places.ts';
import { parsePolygons } from './polygons.ts';

/** Options of `parse`. */
export interface ParseOptions {
  /** Whether labels keep characters outside ASCII, for fine-tunes in other languages. Default false. */
  keepUnicode?: boolean;
  /**
   * Whether malformed parts of the answer are kept as Microsoft's processor keeps them: remnants of tags in labels
   * (`loc_12>car`), boxes whose corners are in the wrong order or that have no area, and objects without a label.
   * Default false: words are read outside tags only, and the result's `dropped` counts the objects that it lacks.
   */
  keepMalformed?: boolean;
  /** Whether the token limit truncated the answer. Default false. */
  truncated?: boolean;
  /** Smallest area of a quad as a fraction of the image, 0 to 1. Default 0: all quads are kept. */
  areaThreshold?: number;
  /**
   * Whether the first four locations of each polygon instance are its box. No task of Florence-2 does this. Default
   * false.
   */
  boxAtStart?: boolean;
}

const PARSE_OPTIONS: OptionTable<ParseOptions> = {
  ...{ keepUnicode: onOff, keepMalformed: onOff, truncated: onOff },
  ...{ areaThreshold: share, boxAtStart: onOff },
};

/**
 * Returns a model's answer as a typed result. The answer to a custom prompt is plain text. Of a malformed answer, the
 * readable parts are returned.
 *
 * Follows Microsoft's processing_florence2.py after `<s>`, `</s>` and `<pad>` are removed; text and labels are trimmed.
 * Malformed answers are equal to it with `keepMalformed` only.
 *
 * @param task the token or the name of a task, or a custom prompt
 * @param image size of the original image in pixels; the result's coordinates are in these pixels
 * @throws UsageError if the task is mistyped, the image size has no pixels, or ids and probabilities differ in number
 */
export function parse<T extends Task | TaskName>(
  answer: Answer,
  task: T,
  image: ImageSize,
  options?: ParseOptions,
): ResultOf<T>;
export function parse(answer: Answer, task: string, image: ImageSize, options?: ParseOptions): TaskResult;
export function parse(answer: Answer, task: string, image: ImageSize, options: ParseOptions = {}): TaskResult {
  checkOptions('parse', options, PARSE_OPTIONS);
  const { truncated = false, areaThreshold = 0, boxAtStart = false, keepMalformed } = options;
  const read = readAnswer(answer);
  const { text } = read;
  const common = { imageSize: { width: image.width, height: image.height }, answer: text, truncated };
  const asked = answeredTask(task);
  const row = taskInfo(asked);
  const words = { text: strip(text), ...(read.probability !== undefined && { confidence: read.probability }) };
  if (!row) return { task: 'prompt', prompt: asked, ...words, ...common };
  switch (row.answer) {
    case 'text':
      return { task: row.task, ...words, ...common };
    case 'boxes':
      return { task: row.task, ...parseBoxes(read, image, options), ...common };
    case 'proposals':
      return { task: row.task, ...parseProposals(read, image, options), ...common };
    case 'phrases':
      return { task: row.task, ...parsePhrases(read, image, options), ...common };
    case 'quads':
      return { task: row.task, ...parseQuads(read, image, { keepMalformed, areaThreshold }), ...common };
    case 'polygons':
      return {
        task: row.task,
        ...parsePolygons(read, image, { labels: false, boxAtStart, keepMalformed }),
        ...common,
      };
    case 'boxes or polygons': {
      const places = text.includes('<poly>')
        ? { boxes: [], ...parsePolygons(read, image, { labels: true, boxAtStart, keepMalformed }) }
        : { ...parseBoxes(read, image, options), instances: [] };
      return { task: row.task, ...places, ...common };
    }
  }
}
