import { UsageError } from '../errors.ts';
import { show } from '../json.ts';
import { strip } from '../text/python_strings.ts';
import { type AnswerKind, taskInfo } from '../text/tasks.ts';
import { FLORENCE2_TOKENS } from '../text/tokenizer_json.ts';

const OTHERS = FLORENCE2_TOKENS.filter(token => !token.startsWith('<loc_'));

/** What a tokenizer takes as a token of its own, wherever in a text it stands. */
export const SPECIAL_TOKEN = new RegExp(`<loc_[^<>]*>|</?s>|<pad>|<unk>|<mask>|${OTHERS.join('|')}`);

const LOCATION = '(?:<loc_\\d+>)';
const LABEL = '\\n*[^<\\n]+';
const BOXES = `(?:${LABEL}(?:${LOCATION}{4})+)*`;
const POLYGON = `(?:${LOCATION}{2}){3,}`;
const POLYGONS = `${POLYGON}(?:<sep>${POLYGON})*`;
const INSTANCE = `<poly>${POLYGONS}</poly>`;

const startsWith = (pattern: string): RegExp => new RegExp(`^${pattern}`);

/** How each kind of answer is written, and how people call it. */
const GRAMMAR: Partial<Record<AnswerKind, { written: RegExp; form: string }>> = {
  boxes: { written: startsWith(BOXES), form: 'labels, each followed by four locations for each of its boxes' },
  phrases: { written: startsWith(BOXES), form: 'phrases, each followed by four locations for each of its boxes' },
  proposals: { written: startsWith(`(?:${LOCATION}{4})*`), form: 'four locations for each box' },
  polygons: {
    written: startsWith(`(?:${POLYGONS}|(?:${INSTANCE})*)`),
    form: 'two locations for each of three or more points, <sep> between polygons, each of several objects in <poly>…</poly>',
  },
  'boxes or polygons': {
    written: startsWith(`(?:(?:${LABEL}(?:${INSTANCE})+)+|${BOXES})`),
    form: 'labels, each followed by four locations for each of its boxes or by <poly>…</poly> for each of its objects',
  },
  quads: {
    written: startsWith(`(?:\\n*(?:(?!<loc_)[^\\n])+${LOCATION}{8})*`),
    form: 'lines of text, each followed by eight locations',
  },
};

/**
 * Throws a UsageError where a text is no answer to this task: its location tokens must be `<loc_0>` to
 * `<loc_999>`, and of the number that the task's objects have. The message shows where it stops to be one.
 */
export function checkAnswerText(task: string, text: string): void {
  checkLocations(text, 'The answer');
  const ending = /<\/?s>|<pad>/.exec(text)?.[0];
  if (ending) throw new UsageError(`The answer holds ${ending}, which the tokenizer adds by itself.`);
  const content = strip(text);
  if (content === '' && !isEmptyAllowed(task)) throw new UsageError(`The answer to ${named(task)} is empty.`);
  const grammar = GRAMMAR[taskInfo(task)?.answer ?? 'text'];
  if (!grammar) return;
  const rest = content.slice(grammar.written.exec(content)![0].length);
  if (rest === '') return;
  const from = rest === content ? '' : ' from here on';
  throw new UsageError(
    `${named(task)} is answered by ${grammar.form}; the answer is something else${from}: ${show(rest)}.`,
  );
}

/** Throws a UsageError for location tokens that do not exist: `<loc_1000>`, `<loc_-1>`, `<loc_07>`. */
export function checkLocations(text: string, what: string): void {
  for (const [token] of text.matchAll(/<loc_[^<>]*>?/g)) {
    if (/^<loc_(0|[1-9]\d{0,2})>$/.test(token)) continue;
    throw new UsageError(
      `${what} holds ${token}, which is no location token: they are <loc_0> to <loc_999>, and what lies on the right or bottom edge is clamped to 999.`,
    );
  }
}

/** Whether nothing at all is an answer: no object, no text in the image. A caption always says something. */
export function isEmptyAllowed(task: string): boolean {
  const row = taskInfo(task);
  return row?.answer !== 'text' || row.task === '<OCR>' || row.task === '<REGION_TO_OCR>';
}

/** How messages call a task. */
export const named = (task: string): string => (taskInfo(task) ? `Task ${task}` : 'A prompt of its own');
