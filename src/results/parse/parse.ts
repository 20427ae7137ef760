import type { ImageSize } from '../../geometry/types.ts';
import { strip } from '../../text/python_strings.ts';
import { type Task, taskInfo } from '../../text/tasks.ts';
import type { ResultOf, TaskResult } from '../types.ts';
import { type Answer, readAnswer } from './answer.ts';
import { parseBoxes, parsePhrases, parseProposals, parseQuads } from './places.ts';
import { parsePolygons } from './polygons.ts';

export interface ParseOptions {
  /** Keep all of a label, not only its ASCII characters. For fine-tunes in other languages. Default false. */
  keepUnicode?: boolean;
  /** The answer was cut by the token limit. Default false. */
  truncated?: boolean;
  /** Drop quads that cover less than this part of the image, 0 to 1. Default 0: all are kept. */
  areaThreshold?: number;
  /** The first four locations of each polygon instance are its box; no task of Florence-2 writes so. Default false. */
  boxAtStart?: boolean;
}

/**
 * An answer of the model as a typed result, its locations in pixels of an image of this size. A task that is not in
 * the table is a prompt of its own and its answer plain text. Malformed answers give what can be read of them.
 *
 * Follows Microsoft's processing_florence2.py after `<s>`, `</s>` and `<pad>` are removed; text and labels are trimmed.
 */
export function parse<T extends Task>(answer: Answer, task: T, image: ImageSize, options?: ParseOptions): ResultOf<T>;
export function parse(answer: Answer, task: string, image: ImageSize, options?: ParseOptions): TaskResult;
export function parse(answer: Answer, task: string, image: ImageSize, options: ParseOptions = {}): TaskResult {
  const { keepUnicode = false, truncated = false, areaThreshold = 0, boxAtStart = false } = options;
  const read = readAnswer(answer);
  const { text } = read;
  const common = { imageSize: { width: image.width, height: image.height }, answer: text, truncated };
  const row = taskInfo(task);
  if (!row) return { task: 'prompt', prompt: task, text: strip(text), ...common };
  switch (row.answer) {
    case 'text':
      return { task: row.task, text: strip(text), ...common };
    case 'boxes':
      return { task: row.task, boxes: parseBoxes(read, image, keepUnicode), ...common };
    case 'proposals':
      return { task: row.task, boxes: parseProposals(read, image), ...common };
    case 'phrases':
      return { task: row.task, phrases: parsePhrases(read, image, { keepUnicode }), ...common };
    case 'quads':
      return { task: row.task, quads: parseQuads(read, image, areaThreshold), ...common };
    case 'polygons':
      return { task: row.task, instances: parsePolygons(read, image, { labels: false, boxAtStart }), ...common };
    case 'boxes or polygons': {
      const asPolygons = text.includes('<poly>');
      const boxes = asPolygons ? [] : parseBoxes(read, image, keepUnicode);
      const instances = asPolygons ? parsePolygons(read, image, { labels: true, boxAtStart }) : [];
      return { task: row.task, boxes, instances, ...common };
    }
  }
}
