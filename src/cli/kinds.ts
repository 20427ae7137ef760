import { isRecord } from '../json.ts';
import * as options from '../options.ts';

/** A kind of value of the options of calls, and how it is read from the command line. */
export interface Kind extends options.Kind {
  /** Shown after the flag in the help. Switches have none. */
  placeholder?: string;
  /** Converts the text of a flag. The result may be a value that is not allowed. */
  read(text: string): unknown;
  /** The flag may be repeated, and its values form a list. */
  repeatable?: boolean;
}

const isText = options.text.allows;
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.length > 0 && value.every(isText);

const readNumber = (text: string): number => (text.trim() === '' ? Number.NaN : Number(text));

/** Reads names: `a,b` is a list. `/text/` (a regular expression for whole names) and `all-linear` stay one text. */
function readNames(text: string): string | string[] {
  if (/^\/.+\/$/.test(text)) return text.slice(1, -1);
  return text === 'all-linear' ? text : text.split(',').map(part => part.trim());
}

const read = (kind: options.Kind, placeholder: string, read: (text: string) => unknown): Kind => ({
  ...kind,
  placeholder,
  read,
});

/** A kind of number as the value of a flag. */
export const numeric = (kind: options.Kind): Kind => read(kind, '<n>', readNumber);

/** A kind of list of numbers as the value of a flag. */
export const numericList = (kind: options.Kind): Kind => read(kind, '<ids>', text => text.split(',').map(readNumber));

export const count = read(options.count, '<n>', readNumber);
export const whole = read(options.whole, '<n>', readNumber);
export const number = read(options.number, '<x>', readNumber);
export const share = read(options.share, '<x>', readNumber);
export const fraction = read(options.fraction, '<x>', readNumber);

const UNIT = /^(\d+(?:\.\d+)?|\.\d+) ?(?:([kmgt])(i?))?b?$/i;

/** A number of bytes, with or without a unit: `500MB` is 500 · 1000², `2GiB` is 2 · 1024³. */
export const bytes: Kind = {
  placeholder: '<size>',
  expected: 'a size such as 500MB, 2GiB, or a number of bytes',
  allows: options.whole.allows,
  read: text => {
    const [, value, unit = '', binary] = UNIT.exec(text.trim()) ?? [];
    return Math.round(Number(value) * (binary ? 1024 : 1000) ** ' kmgt'.indexOf(unit.toLowerCase() || ' '));
  },
};

export const pair: Kind = {
  placeholder: '<a,b>',
  expected: 'two numbers from 0 to 1',
  allows: value => Array.isArray(value) && value.length === 2 && value.every(share.allows),
  read: text => text.split(',').map(readNumber),
};

export const text = (placeholder: string): Kind => read(options.text, placeholder, given => given);

/** A list of texts. In a config file, one text may be given without a list. */
export const texts = (placeholder: string): Kind => ({
  placeholder,
  expected: 'a text or a list of texts',
  allows: value => isText(value) || isTexts(value),
  read: given => given,
  repeatable: true,
});

/** The same, but the list may be empty. */
export const anyTexts = (placeholder: string): Kind => ({
  ...texts(placeholder),
  allows: value => isText(value) || isTexts(value) || (Array.isArray(value) && value.length === 0),
});

export const names: Kind = {
  placeholder: '<names>',
  expected: 'a text or a list of texts',
  allows: value => isText(value) || isTexts(value),
  read: readNames,
};

export const list: Kind = {
  placeholder: '<names>',
  expected: 'a list of texts',
  allows: isTexts,
  read: text => text.split(',').map(part => part.trim()),
};

export const oneOf = (...values: string[]): Kind =>
  read(options.oneOf(...values), `<${values.join('|')}>`, given => given);

export const onOff: Kind = { ...options.onOff, read: () => true };

/** An object of numbers, for config files only. */
export const numbers: Kind = {
  expected: 'an object of numbers',
  allows: value => isRecord(value) && Object.values(value).every(number.allows),
  read: given => given,
};
