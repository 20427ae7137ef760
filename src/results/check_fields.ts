import { UsageError } from '../errors.ts';
import { isRecord } from '../json.ts';
import { show } from '../show.ts';
import { strip } from '../text/python_strings.ts';
import { type AnswerKind, taskInfo } from '../text/tasks.ts';
import { describeTask } from './check_text.ts';
import { allowsEmptyAnswer, SPECIAL_TOKEN } from './grammar.ts';

/** The fields of an answer by its kind, the preferred one first. */
const FIELDS: Record<AnswerKind, readonly string[]> = {
  text: ['text'],
  boxes: ['boxes'],
  proposals: ['boxes'],
  phrases: ['phrases'],
  polygons: ['instances'],
  'boxes or polygons': ['instances', 'boxes'],
  quads: ['quads'],
};

/**
 * Checks the fields of a typed answer. The answer to a custom prompt is a text.
 *
 * @throws UsageError that names the invalid field: one of another task, words that are missing or contain special
 *   tokens, coordinates that are not numbers, or corners in the wrong order
 */
export function checkAnswerFields(task: string, answer: unknown): void {
  const kind = taskInfo(task)?.answer;
  const fields = FIELDS[kind ?? 'text'];
  if (!isRecord(answer)) throw new UsageError(`answer is ${show(answer)}, expected a text or an object.`);
  const given = fields.filter(field => answer[field] !== undefined);
  if (given.length === 0) {
    const found = Object.keys(answer).join(', ') || 'nothing';
    throw new UsageError(`${describeTask(task)} is answered by ${fields.join(' or ')}, but the answer has ${found}.`);
  }
  for (const field of given) CHECKS[field](answer[field], `answer.${field}`, task);
  if (fields.every(field => Array.isArray(answer[field]) && answer[field].length > 0) && fields.length > 1) {
    throw new UsageError(`answer has both ${fields.join(' and ')}: ${describeTask(task)} is answered by one of them.`);
  }
}

const CHECKS: Record<string, (value: unknown, at: string, task: string) => void> = {
  text: (value, at, task) => checkText(value, at, task),
  boxes: (value, at, task) =>
    eachItem(value, at, (item, here) => {
      checkLabel(item.label, `${here}.label`, taskInfo(task)?.answer === 'proposals');
      checkBox(item.box, `${here}.box`);
    }),
  phrases: (value, at) =>
    eachItem(value, at, (item, here) => {
      checkLabel(item.phrase, `${here}.phrase`, false);
      const count = eachItem(item.boxes, `${here}.boxes`, (found, there) => checkBox(found.box, `${there}.box`));
      if (count === 0) fail(`${here}.boxes`, 'is empty: omit phrases without an object in the image');
    }),
  instances: (value, at, task) =>
    eachItem(value, at, (item, here) => {
      checkLabel(item.label, `${here}.label`, taskInfo(task)?.answer === 'polygons');
      const { polygons } = item;
      if (!Array.isArray(polygons) || polygons.length === 0) fail(`${here}.polygons`, 'is not a list of polygons');
      polygons.forEach((polygon, i) => {
        checkPolygon(polygon, `${here}.polygons[${i}]`);
      });
    }),
  quads: (value, at) =>
    eachItem(value, at, (item, here) => {
      checkWords(item.text, `${here}.text`);
      if ((item.text as string).includes('\n'))
        fail(`${here}.text`, 'contains a line break: give each line its own quad');
      checkCoordinates(item.quad, `${here}.quad`);
      if (item.quad.length !== 8) fail(`${here}.quad`, `has ${item.quad.length} numbers, expected 8: four corners`);
    }),
};

/**
 * Checks that a value is a box `[x1, y1, x2, y2]` with its corners in order.
 *
 * @throws UsageError that names the field `at`
 */
export function checkBox(box: unknown, at: string): void {
  checkCoordinates(box, at);
  if (box.length !== 4) fail(at, `has ${box.length} numbers, expected 4: x1, y1, x2, y2`);
  if (box[0] > box[2] || box[1] > box[3]) {
    fail(at, `is ${show(Array.from(box))}, expected x1 <= x2 and y1 <= y2: top left, then bottom right corner`);
  }
}

function checkPolygon(polygon: unknown, at: string): void {
  checkCoordinates(polygon, at);
  if (polygon.length < 6 || polygon.length % 2 !== 0) {
    fail(at, `has ${polygon.length} numbers, expected x and y of at least three points`);
  }
}

function checkCoordinates(value: unknown, at: string): asserts value is ArrayLike<number> {
  if (!Array.isArray(value) && !ArrayBuffer.isView(value)) fail(at, `is ${show(value)}, expected a list of numbers`);
  const wrong = Array.from(value as ArrayLike<unknown>).findIndex(number => !Number.isFinite(number));
  if (wrong >= 0) fail(`${at}[${wrong}]`, `is ${show((value as unknown[])[wrong])}, expected a number of pixels`);
}

/**
 * Labels and phrases cannot contain `<`, which ends them, nor line breaks, because the parser skips labels of two
 * lines.
 */
function checkLabel(value: unknown, at: string, empty: boolean): void {
  if (empty) {
    if (value !== '' && value !== undefined) fail(at, `is ${show(value)}, but this task's objects have no labels`);
    return;
  }
  checkWords(value, at);
  if (/[<\n]|^loc_\p{Nd}+>/u.test(strip(value))) {
    fail(at, `is ${show(value)}: labels cannot contain "<", line breaks or location tokens, which would end them`);
  }
}

function checkText(value: unknown, at: string, task: string): void {
  if (typeof value === 'string' && strip(value) === '' && allowsEmptyAnswer(task)) return;
  checkWords(value, at);
}

function checkWords(value: unknown, at: string): asserts value is string {
  if (typeof value !== 'string') fail(at, `is ${show(value)}, expected words`);
  if (strip(value) === '') fail(at, 'is empty, expected words');
  const token = SPECIAL_TOKEN.exec(value)?.[0];
  if (token) fail(at, `contains the special token ${token}: give the whole answer as a string to learn it unchanged`);
}

function eachItem(value: unknown, at: string, check: (item: Record<string, unknown>, at: string) => void): number {
  if (!Array.isArray(value)) fail(at, `is ${show(value)}, expected a list`);
  value.forEach((item, i) => {
    if (!isRecord(item)) fail(`${at}[${i}]`, `is ${show(item)}, expected an object`);
    check(item, `${at}[${i}]`);
  });
  return value.length;
}

function fail(field: string, problem: string): never {
  throw new UsageError(`${field} ${problem}.`);
}
