/**
 * Python's white space. The reference parses answers with Python's `str.strip` and `re`, whose character classes differ
 * from ECMAScript's: U+001C to U+001F and U+0085 are white space in Python, U+FEFF is not, and `\d` matches the decimal
 * digits of every script.
 */
const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';

const LEADING = new RegExp(`^[${SPACE}]+`);
const TRAILING = new RegExp(`[${SPACE}]+$`);

/** Python's `str.lstrip()`. */
export const stripStart = (text: string): string => text.replace(LEADING, '');

/** Python's `str.strip()`. */
export const strip = (text: string): string => stripStart(text).replace(TRAILING, '');

/** Python's `int()` of decimal digits in any script. */
export function parseDecimal(digits: string): number {
  let value = 0;
  for (const digit of digits) value = value * 10 + digitValue(digit.codePointAt(0)!);
  return value;
}

const DIGIT = /\p{Nd}/u;

/** Returns the value of a digit. The ten digits of a script are consecutive in Unicode, starting with its zero. */
function digitValue(codePoint: number): number {
  let start = codePoint;
  while (DIGIT.test(String.fromCodePoint(start - 1))) start--;
  return (codePoint - start) % 10; // scripts may be adjacent, as the mathematical digits are
}
