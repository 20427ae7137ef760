import { format } from 'node:util';

/**
 * Characters that terminals interpret instead of showing them, except line breaks and tabs: C0 and C1 controls, DEL, line
 * separators, and marks that change the direction of the text after them. Names of files, labels, answers and texts of
 * servers may contain them.
 */
const CONTROLS = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Returns a text with control characters as `\u001b`. In JSON this is the same text; line breaks and tabs stay. */
export const escapeControls = (text: string): string =>
  text.replace(CONTROLS, character => `\\u${hexOf(character).padStart(4, '0')}`);

/** Returns an XML document with control characters as `&#x9b;`. */
export const escapeXmlControls = (document: string): string =>
  document.replace(CONTROLS, character => `&#x${hexOf(character)};`);

const hexOf = (character: string): string => character.charCodeAt(0).toString(16);

/** Returns a name on one line, with control characters escaped. */
export const nameOnOneLine = (name: string): string =>
  escapeControls(name).replace(/[\n\t]/g, character => (character === '\n' ? '\\n' : '\\t'));

/** Prints lines on stdout, with control characters escaped. */
export const print = (...lines: string[]): void => {
  process.stdout.write(`${lines.map(escapeControls).join('\n')}\n`);
};

/** Prints lines on stderr, with control characters escaped: what is not the output of the command. */
export const printNote = (...lines: string[]): void => {
  process.stderr.write(`${lines.map(escapeControls).join('\n')}\n`);
};

/** The beginning of every line about an error or a warning. */
export const PREFIX = 'florence2: ';

/** Prints the message of an error or a warning on stderr. */
export const printProblem = (message: string): void => printNote(PREFIX + message);

/** Takes the place of `console.warn`, which the library writes its warnings to. Its last line break is dropped. */
export const printWarning = (...values: unknown[]): void => printProblem(format(...values).trim());
