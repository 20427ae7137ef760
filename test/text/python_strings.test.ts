import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseDecimal, strip, stripStart } from '../../src/text/python_strings.ts';

/** From CPython 3: [chr(c) for c in range(0x110000) if chr(c).isspace()]. */
// biome-ignore format: a list of numbers
const PYTHON_SPACES = [
  0x9, 0xa, 0xb, 0xc, 0xd, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x85, 0xa0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004,
  0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000,
];

test("strip removes Python's white space and no other", () => {
  const spaces = new Set(PYTHON_SPACES);
  for (let code = 0; code < 0x10000; code++) {
    if (code >= 0xd800 && code < 0xe000) continue;
    const character = String.fromCharCode(code);
    const text = `${character}x${character}`;
    assert.is(strip(text), spaces.has(code) ? 'x' : text, `U+${code.toString(16)}`);
    assert.is(stripStart(text), spaces.has(code) ? `x${character}` : text, `U+${code.toString(16)}`);
  }
});

test("decimal digits of every script, as Python's int()", () => {
  const cases: [string, number][] = [
    ['0', 0],
    ['007', 7],
    ['999', 999],
    ['٣٤', 34], // Arabic-Indic
    ['１２３', 123], // full width
    ['९0', 90], // Devanagari and ASCII
    ['𝟎𝟗', 9], // mathematical bold
    ['𝟘𝟡', 9], // mathematical double-struck, the row after it
  ];
  for (const [digits, value] of cases) assert.is(parseDecimal(digits), value, digits);
});

test.run();
