import { Florence2Error } from '../../errors.ts';
import { isRecord } from '../../json.ts';
import { show } from '../../show.ts';
import { type Task, taskInfo } from '../../text/tasks.ts';

/** An answer; only the published parts are set. Boxes are [x1, y1, x2, y2] in pixels, one per label. */
export interface KnownAnswer {
  readonly inputIds?: number[];
  readonly text?: string;
  readonly labels?: string[];
  readonly boxes?: number[][];
  /** Number of objects with polygons. */
  readonly polygons?: number;
}

/** A task for a published checkpoint, and its published answer. */
export interface PublishedCase extends KnownAnswer {
  readonly model: string;
  readonly image: string;
  readonly task: Task;
  readonly input?: string;
  readonly numBeams: number;
  readonly maxNewTokens: number;
  /** Location bins by which a coordinate may differ: 1 if the note says "allow one bin", else 0. */
  readonly bins: number;
  /** True if the note mentions a capital letter, because sources spell the label differently. */
  readonly ignoreCase: boolean;
}

export interface PublishedImage {
  readonly url: string;
  readonly width: number;
  readonly height: number;
}

export interface PublishedAnswers {
  readonly images: ReadonlyMap<string, PublishedImage>;
  readonly cases: PublishedCase[];
}

/**
 * Reads answers in the form of answers.ts.
 *
 * @param file name of the file in error messages
 * @throws Florence2Error naming the case and the field that is wrong
 */
export function parsePublished(json: unknown, file: string): PublishedAnswers {
  if (!isRecord(json) || !isRecord(json.images) || !Array.isArray(json.cases)) {
    throw new Florence2Error(`${file} holds ${show(json)}, expected "images" by name and a list of "cases".`);
  }
  const images = new Map(
    Object.entries(json.images).map(([name, entry]) => {
      const { url, size } = isRecord(entry) ? entry : {};
      if (typeof url !== 'string' || !isNumbers(size, 2)) {
        throw new Florence2Error(`${file}: images.${name} is ${show(entry)}, expected a url and a size.`);
      }
      return [name, { url, width: size[0], height: size[1] }];
    }),
  );
  const cases = json.cases.map((entry, i) => parseCase(entry, images, `${file}: cases[${i}]`));
  return { images, cases };
}

function parseCase(entry: unknown, images: ReadonlyMap<string, unknown>, at: string): PublishedCase {
  if (!isRecord(entry)) throw new Florence2Error(`${at} is ${show(entry)}, expected an object.`);
  /** Returns an optional field. */
  const field = <T>(name: string, allowed: (value: unknown) => boolean, expected: string): T | undefined => {
    const value = entry[name];
    if (value === undefined || allowed(value)) return value as T | undefined;
    throw new Florence2Error(`${at}.${name} is ${show(value)}, expected ${expected}.`);
  };
  const required = <T>(name: string, allowed: (value: unknown) => boolean, expected: string): T => {
    const value = field<T>(name, allowed, expected);
    if (value === undefined) throw new Florence2Error(`${at}.${name} is missing, expected ${expected}.`);
    return value;
  };
  const text = (name: string) => field<string>(name, value => typeof value === 'string', 'a text');
  const count = (name: string, fallback: number) =>
    field<number>(name, value => Number.isSafeInteger(value) && Number(value) > 0, 'a whole number') ?? fallback;
  const labels = field<string[]>(entry.labels ? 'labels' : 'bboxes_labels', isTexts, 'a list of labels');
  const boxes = field<number[][]>('bboxes', isBoxes, 'a list of boxes [x1, y1, x2, y2]');
  if (labels?.length !== boxes?.length) throw new Florence2Error(`${at} must have as many labels as bboxes.`);
  const note = text('note') ?? '';
  const known: PublishedCase = {
    model: required<string>('model', value => typeof value === 'string', 'the id of a model'),
    image: required<string>('image', value => images.has(String(value)), `one of ${[...images.keys()].join(', ')}`),
    task: required<Task>('task', value => taskInfo(String(value)) !== undefined, 'a task token'),
    input: text('input'),
    inputIds: field<number[]>('input_ids', value => isNumbers(value), 'a list of token ids'),
    text: text('text'),
    labels,
    boxes,
    polygons: field<unknown[]>('polygons', Array.isArray, 'a list')?.length,
    numBeams: count('num_beams', 3),
    maxNewTokens: count('max_new_tokens', 1024),
    bins: /allow one bin/i.test(note) ? 1 : 0,
    ignoreCase: /capital/i.test(note),
  };
  if (known.text === undefined && known.boxes === undefined) {
    throw new Florence2Error(`${at} has no answer: expected "text", or labels and bboxes.`);
  }
  return known;
}

const isNumbers = (value: unknown, length?: number): value is number[] =>
  Array.isArray(value) && value.every(Number.isFinite) && (length === undefined || value.length === length);
const isBoxes = (value: unknown): boolean => Array.isArray(value) && value.every(box => isNumbers(box, 4));
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(text => typeof text === 'string');
