import { isRecord } from '../json.ts';

/** A kind of value: how it is read from the command line, and which values are allowed. */
export interface Kind {
  /** Shown after the flag in the help. Switches have none. */
  placeholder?: string;
  /** Names the allowed values in error messages. */
  expected: string;
  allows(value: unknown): boolean;
  /** Converts the text of a flag. The result may be a value that is not allowed. */
  read(text: string): unknown;
  /** The flag may be repeated, and its values form a list. */
  repeatable?: boolean;
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.length > 0 && value.every(isText);

const readNumber = (text: string): number => (text.trim() === '' ? Number.NaN : Number(text));

/** Reads names: `a,b` is a list. `/text/` (a regular expression for whole names) and `all-linear` stay one text. */
function readNames(text: string): string | string[] {
  if (/^\/.+\/$/.test(text)) return text.slice(1, -1);
  return text === 'all-linear' ? text : text.split(',').map(part => part.trim());
}

const wholeFrom = (least: number): Kind => ({
  placeholder: '<n>',
  expected: `a whole number of at least ${least}`,
  allows: value => Number.isSafeInteger(value) && (value as number) >= least,
  read: readNumber,
});

export const count = wholeFrom(1);
export const whole = wholeFrom(0);

export const number: Kind = {
  placeholder: '<x>',
  expected: 'a number of at least 0',
  allows: value => Number.isFinite(value) && (value as number) >= 0,
  read: readNumber,
};

export const share: Kind = {
  placeholder: '<x>',
  expected: 'a number from 0 to 1',
  allows: value => Number.isFinite(value) && (value as number) >= 0 && (value as number) <= 1,
  read: readNumber,
};

export const pair: Kind = {
  placeholder: '<a,b>',
  expected: 'two numbers from 0 to 1',
  allows: value => Array.isArray(value) && value.length === 2 && value.every(share.allows),
  read: text => text.split(',').map(readNumber),
};

export const text = (placeholder: string): Kind => ({
  placeholder,
  expected: 'a text',
  allows: isText,
  read: given => given,
});

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

export const oneOf = (...values: string[]): Kind => ({
  placeholder: `<${values.join('|')}>`,
  expected: values.slice(0, -1).join(', ') + ` or ${values.at(-1)}`,
  allows: value => values.includes(value as string),
  read: given => given,
});

export const onOff: Kind = { expected: 'true or false', allows: value => typeof value === 'boolean', read: () => true };

/** An object of numbers, for config files only. */
export const numbers: Kind = {
  expected: 'an object of numbers',
  allows: value => isRecord(value) && Object.values(value).every(number.allows),
  read: given => given,
};
