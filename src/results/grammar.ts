import { type AnswerKind, taskInfo } from '../text/tasks.ts';
import { FLORENCE2_TOKENS } from '../text/tokenizer_json.ts';

// The grammar of answers: words followed by location tokens. The parser's patterns accept malformed answers too:
// `\p{Nd}` is Python's `\d`, a digit of any script, and `[^\n]` is Python's `.`. Answers to learn must have the exact
// form (`ANSWER_FORMS`).

const LOCATION = '<loc_\\p{Nd}+>';
const BOX = `(?:${LOCATION}){4}`;

/** A location token; its group is the bin. */
export const LOCATION_TOKEN = /<loc_(\p{Nd}+)>/gu;

/** `<loc><loc><loc><loc>…` */
export const UNLABELLED_BOXES = new RegExp(`(?:${LOCATION}){4,}`, 'gu');

const POLYGON_TOKENS = `(?:${LOCATION}|<sep>|<poly>|</poly>){4,}`;

/** `<poly><loc><loc>…<sep><loc><loc>…</poly>…` */
export const UNLABELLED_POLYGONS = new RegExp(POLYGON_TOKENS, 'gu');

/** Patterns for words and the locations after them. Of a quad, groups 1 and 2 are the words and the locations. */
export interface Grammar {
  boxes: RegExp;
  quad: RegExp;
  polygons: RegExp;
}

/**
 * The positions at which words can begin in the reference: the start, after a tag, after the `<` of a tag, after a
 * newline. Without this condition the patterns match the same, but search the rest of the answer from each of its
 * characters.
 */
const REFERENCE_WORDS = '(?<=^|[<>\\n])';

/** The patterns of Microsoft's processor. In malformed answers, words may begin inside a tag: `loc_12>car`. */
export const REFERENCE_GRAMMAR: Grammar = {
  boxes: new RegExp(`${REFERENCE_WORDS}[^<]+(?:${LOCATION}){4,}`, 'gu'),
  quad: new RegExp(`${REFERENCE_WORDS}([^\\n]+?)((?:${LOCATION}){8})`, 'gu'),
  polygons: new RegExp(`${REFERENCE_WORDS}[^<]+${POLYGON_TOKENS}`, 'gu'),
};

/**
 * Words without `<` that begin outside tags. The condition about tags is not within `(?<=…)`, which is matched from right to
 * left: it would search the rest of the words from each of their characters.
 */
const WORDS = '(?:(?<=^|[>\\n])|(?<=<)(?![^<>\\s]*>))[^<]+';
const OTHER_TAGS = '(?:<(?!loc_)[^<>\\s]*>)*';
const LINE = `(?<=^|\\n|${LOCATION})((?:(?!${LOCATION})[^\\n])+)`;

/**
 * The patterns for the same answers without remnants of tags in words. Words are optional, so that locations without
 * words are found and can be counted.
 */
export const GRAMMAR: Grammar = {
  boxes: new RegExp(`(?:${WORDS}${OTHER_TAGS})?(?:${LOCATION}${OTHER_TAGS}){4,}`, 'gu'),
  quad: new RegExp(`(?:${LINE})?((?:${LOCATION}){8})`, 'gu'),
  polygons: new RegExp(`(?:${WORDS})?${POLYGON_TOKENS}`, 'gu'),
};

/** The end of a label in the reference. The tags other than `<loc_` and `<poly>` are those of earlier models. */
export const REFERENCE_END_OF_LABEL = /<\/?od>|<\/?box>|<\/?bbox>|<loc_|<poly>/;

/** One instance; its group is the content. */
export const INSTANCE = /<poly>([^\n]*?)<\/poly>/g;

/** One polygon of an instance. The last polygon has no `<sep>`. */
export const POLYGON = new RegExp(`(?:${LOCATION})+(?=<sep>|$)`, 'gu');

const EXACT_LABEL = '\\n*[^<\\n]+';
const EXACT_BOXES = `(?:${EXACT_LABEL}(?:${BOX})+)*`;
const EXACT_POLYGON = `(?:${LOCATION}${LOCATION}){3,}`;
const EXACT_POLYGONS = `${EXACT_POLYGON}(?:<sep>${EXACT_POLYGON})*`;
const EXACT_INSTANCE = `<poly>${EXACT_POLYGONS}</poly>`;

const startingWith = (pattern: string): RegExp => new RegExp(`^${pattern}`, 'u');

/**
 * The exact form of each kind of answer, with its description for error messages. Kinds without a form are free text.
 */
export const ANSWER_FORMS: Partial<Record<AnswerKind, { pattern: RegExp; description: string }>> = {
  boxes: {
    pattern: startingWith(EXACT_BOXES),
    description: 'labels, each followed by four locations for each of its boxes',
  },
  phrases: {
    pattern: startingWith(EXACT_BOXES),
    description: 'phrases, each followed by four locations for each of its boxes',
  },
  proposals: { pattern: startingWith(`(?:${BOX})*`), description: 'four locations for each box' },
  polygons: {
    pattern: startingWith(`(?:${EXACT_POLYGONS}|(?:${EXACT_INSTANCE})*)`),
    description:
      'two locations for each of three or more points, <sep> between polygons, each of several objects in <poly>…</poly>',
  },
  'boxes or polygons': {
    pattern: startingWith(`(?:(?:${EXACT_LABEL}(?:${EXACT_INSTANCE})+)+|${EXACT_BOXES})`),
    description:
      'labels, each followed by four locations for each of its boxes or by <poly>…</poly> for each of its objects',
  },
  quads: {
    pattern: startingWith(`(?:\\n*(?:(?!<loc_)[^\\n])+(?:${LOCATION}){8})*`),
    description: 'lines of text, each followed by eight locations',
  },
};

/** Whether an answer may be empty: an image may have no objects or no text, but always has a caption. */
export function allowsEmptyAnswer(task: string): boolean {
  const row = taskInfo(task);
  return row?.answer !== 'text' || row.task === '<OCR>' || row.task === '<REGION_TO_OCR>';
}

/** A text that the tokenizer encodes as a special token at any position. */
export const SPECIAL_TOKEN = new RegExp(
  `<loc_[^<>]*>|</?s>|<pad>|<unk>|<mask>|${FLORENCE2_TOKENS.filter(token => !token.startsWith('<loc_')).join('|')}`,
);
