import { UsageError } from '../errors.ts';
import { isRecord } from '../json.ts';
import type { Kind } from '../options.ts';
import { type AnswerPart, AnswerState } from '../results/answer_state.ts';
import { type LocationTokens, locationTokens } from '../text/locations.ts';
import { strip } from '../text/python_strings.ts';
import { taskInfo } from '../text/tasks.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/** Whether answers are constrained, and to which labels; see `constrain` of `RunOptions`. */
export type Constrain = boolean | { classes: readonly string[] };

/** The kind of the option `constrain`. */
export const CONSTRAIN: Kind = {
  expected: 'true, false or { classes: [names] }',
  allows: value =>
    typeof value === 'boolean' ||
    (isRecord(value) &&
      Object.keys(value).join() === 'classes' &&
      Array.isArray(value.classes) &&
      value.classes.length > 0 &&
      value.classes.every(name => typeof name === 'string' && name.trim() !== '')),
};

/** Kinds of tokens. Those of no kind occur in no answer with places. */
const [NONE, WORD, BLANK, LOCATION, SEP, OPEN, CLOSE, END] = [0, 1, 2, 3, 4, 5, 6, 7];

/** The part of an answer that a kind of token writes. */
const PARTS: (AnswerPart | undefined)[] = [
  ...[undefined, 'words', 'words', 'location', '<sep>', '<poly>', '</poly>', 'end'],
] as const;

/** What the constraints of a call share. */
interface Vocabulary {
  readonly tokenizer: Tokenizer;
  /** The kind of each token. */
  readonly kinds: Uint8Array; // [V]
  readonly locations: LocationTokens;
  /** The token ids of the labels that may be written; undefined: any words. */
  readonly labels?: readonly (readonly number[])[];
}

/**
 * Allows the next tokens with which the answer to a task stays well-formed (see `AnswerState`), and with which it can be
 * completed before the token limit. Words have neither `<` nor line breaks. Immutable.
 */
export class Constraint {
  private constructor(
    private readonly vocabulary: Vocabulary,
    private readonly state: AnswerState,
    /** The tokens of the label so far. */
    private readonly label: readonly number[] = [],
  ) {}

  /**
   * Returns the constraint for each task; null for those whose answers are free text, and without `constrain`.
   *
   * @param tasks task tokens, or prompts
   * @throws UsageError for a label that an answer cannot contain
   */
  static forTasks(
    tokenizer: Tokenizer,
    eosTokenIds: readonly number[],
    tasks: readonly string[],
    constrain: Constrain = false,
  ): (Constraint | null)[] {
    const ofTasks = tasks.map(task => taskInfo(task)?.answer ?? 'text');
    if (!constrain || ofTasks.every(kind => kind === 'text')) return tasks.map(() => null);
    const kinds = kindsOfTokens(tokenizer, eosTokenIds);
    const classes = constrain === true ? undefined : constrain.classes;
    const labels = classes?.map(name => {
      const ids = tokenizer.encode(name.trim(), { addSpecialTokens: false });
      if (ids.length > 0 && ids.every(id => kinds[id] === WORD || kinds[id] === BLANK)) return ids;
      throw new UsageError(`"${name}" cannot be a label: labels have words, without "<" and line breaks.`);
    });
    const vocabulary = { tokenizer, kinds, locations: locationTokens(tokenizer), labels };
    return ofTasks.map(kind => (kind === 'text' ? null : new Constraint(vocabulary, AnswerState.start(kind))));
  }

  /**
   * Sets the scores [V] of tokens that must not follow to -Infinity, in place.
   *
   * @param left number of tokens up to the limit, including the next one
   */
  restrict(scores: Float32Array, left: number): void {
    const { kinds, locations } = this.vocabulary;
    const allowed = PARTS.map((part, kind) => part !== undefined && this.allows(part, kind, left));
    const words = this.nextOfLabels(left);
    for (let token = 0; token < scores.length; token++) {
      const kind = kinds[token] ?? NONE;
      const isAllowed =
        allowed[kind] &&
        (kind !== LOCATION || this.state.allowsBin(token - locations.first)) &&
        (words === undefined || PARTS[kind] !== 'words' || words.has(token));
      if (!isAllowed) scores[token] = -Infinity;
    }
  }

  /** Returns the constraint after a token. Tokens that occur in no answer, such as a forced `<s>`, change nothing. */
  after(token: number): Constraint {
    const { vocabulary, state } = this;
    const part = PARTS[vocabulary.kinds[token] ?? NONE];
    if (part === undefined) return this;
    if (part === 'location') {
      return new Constraint(vocabulary, state.after(part, token - vocabulary.locations.first));
    }
    if (part !== 'words') return new Constraint(vocabulary, state.after(part));
    const label = [...this.label, token];
    return new Constraint(vocabulary, state.after(part, this.isLabel(label)), label);
  }

  private allows(part: AnswerPart, kind: number, left: number): boolean {
    const { state, vocabulary } = this;
    if (!state.allows(part)) return false;
    if (part === 'words') {
      if (vocabulary.labels) return true; // nextOfLabels restricts them
      if (kind === BLANK && !(state.inLabel && state.labelled)) return false; // a label begins with a word
      return state.after(part, true).tokensToEnd() < left;
    }
    return (part === 'location' ? state.after(part, 0) : state.after(part)).tokensToEnd() < left || part === 'end';
  }

  /** Returns the tokens that continue one of the given labels and leave room for its place. */
  private nextOfLabels(left: number): Set<number> | undefined {
    const { labels } = this.vocabulary;
    const done = this.label.length;
    const place = this.state.after('words', true).tokensToEnd();
    const open = labels?.filter(ids => ids.length > done && this.label.every((id, i) => id === ids[i]));
    return open && new Set(open.filter(ids => ids.length - done + place <= left).map(ids => ids[done]));
  }

  private isLabel(label: readonly number[]): boolean {
    const { labels, tokenizer } = this.vocabulary;
    if (labels) return labels.some(ids => ids.length === label.length && ids.every((id, i) => id === label[i]));
    return strip(tokenizer.decode(label)) !== '';
  }
}

/** Returns the kind of each token of a tokenizer. */
function kindsOfTokens(tokenizer: Tokenizer, eosTokenIds: readonly number[]): Uint8Array {
  const kinds = new Uint8Array(tokenizer.size);
  for (let token = 0; token < kinds.length; token++) kinds[token] = wordKind(tokenizer, token);
  const { first, count } = locationTokens(tokenizer);
  kinds.fill(LOCATION, first, first + count);
  for (const [text, kind] of [
    ['<sep>', SEP],
    ['<poly>', OPEN],
    ['</poly>', CLOSE],
  ] as const) {
    kinds[tokenizer.tokenToId(text)!] = kind;
  }
  for (const token of eosTokenIds) kinds[token] = END;
  return kinds;
}

function wordKind(tokenizer: Tokenizer, token: number): number {
  const written = tokenizer.idToToken(token);
  if (written === undefined || tokenizer.isSpecial(token) || written.includes('<')) return NONE;
  if (/[!-~]/.test(written) && !/[\n\u010a]/.test(written)) return WORD; // \u010a is how BPE writes a line break
  const text = tokenizer.decode([token]);
  if (text.includes('\n')) return NONE;
  return strip(text) === '' ? BLANK : WORD;
}
