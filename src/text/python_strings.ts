/**
 * Python's idea of white space and digits. The reference reads answers with Python's `str.strip` and `re`, and
 * ECMAScript's classes differ: U+001C to U+001F and U+0085 are white space there, U+FEFF is not, and `\d` takes the
 * decimal digits of every script.
 */
const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

const LEADING = new RegExp(`^[${SPACE}]+`);
const TRAILING = new RegExp(`[${SPACE}]+$`);

/** Python's `str.lstrip()`. */
export const stripStart = (text: string): string => text.replace(LEADING, '');

/** Python's `str.strip()`. */
export const strip = (text: string): string => stripStart(text).replace(TRAILING, '');

/** Python's `int()` of a run of decimal digits, in any script. */
export function parseDecimal(digits: string): number {
  let value = 0;
  for (const digit of digits) value = value * 10 + digitValue(digit.codePointAt(0)!);
  return value;
}

const DIGIT = /\p{Nd}/u;

/** Unicode keeps the ten digits of a script in a row, so a digit's value is its distance from a row's start. */
function digitValue(codePoint: number): number {
  let start = codePoint;
  while (DIGIT.test(String.fromCodePoint(start - 1))) start--;
  return (codePoint - start) % 10; // rows may follow one another, as the mathematical digits do
}
