import { RULES } from './penn_rules.ts';

/** Tokens that pycocoevalcap removes. Brackets are in capitals there, so that those of the tokenizer stay. */
const PUNCTUATION: ReadonlySet<string> = new Set([
  ...["''", "'", '``', '`', '-LRB-', '-RRB-', '-LCB-', '-RCB-', '.', '?', '!', ',', ':', '-', '--', '...', ';'],
]);

/** A lower-case word whose end is clear: no rule reads beyond the blank or the comma after it. */
const PLAIN_WORD = /[a-z]+(?=[ \n]|,[ \n])/y;
/** Words of one piece that are split. */
const SPLIT: ReadonlySet<string> = new Set(['cannot', 'gonna', 'gotta', 'lemme', 'gimme', 'wanna']);

/** The reference reads captions as lines of a file, and the end of some tokens depends on the next line. */
const NEXT_LINE = '\nend';

/**
 * Returns the tokens of a caption for BLEU, ROUGE-L and CIDEr-D: Penn Treebank tokens in lower case without punctuation,
 * as pycocoevalcap's `PTBTokenizer` (Stanford CoreNLP 3.4.1). Emoji and unknown symbols are left out. A token may contain
 * U+00A0 (`1 1/2`, phone numbers).
 */
export function pennTokens(text: string): string[] {
  const line = text.replaceAll('\n', ' ');
  // The reference reads characters beyond U+FFFF as two that it does not know.
  const source = `${line.replace(/[\u{10000}-\u{10FFFF}]/gu, '\uFFFF\uFFFF')}${NEXT_LINE}`;
  const tokens: string[] = [];
  for (let at = 0; at < line.length; ) {
    if (source[at] === ' ') {
      at++;
      continue;
    }
    PLAIN_WORD.lastIndex = at;
    const plain = PLAIN_WORD.exec(source)?.[0];
    if (plain && !SPLIT.has(plain)) {
      tokens.push(plain);
      at += plain.length;
      continue;
    }
    const { token, end } = nextToken(source, line, at);
    if (token !== null) tokens.push(...token.toLowerCase().split(' '));
    at = end;
  }
  return tokens.filter(token => token !== '' && !PUNCTUATION.has(token));
}

/** Returns the token at a position by the rule with the longest match, or null where there is none. */
function nextToken(source: string, line: string, at: number): { token: string | null; end: number } {
  let most = 0;
  let best: { token: string | null; end: number } = { token: null, end: at + 1 };
  for (const { pattern, text, again } of RULES) {
    pattern.lastIndex = at;
    const match = pattern.exec(source);
    if (!match || match[0].length <= most) continue;
    most = match[0].length;
    const token = line.slice(at, at + match[1].length);
    best = { token: text ? text(token) : token, end: at + token.length - (again?.(token) ?? 0) };
  }
  return best;
}
