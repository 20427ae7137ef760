import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { escapeControls, escapeXmlControls, nameOnOneLine } from '../../../src/cli/print/terminal.ts';

const cases: [what: string, text: string, escaped: string][] = [
  ['a colour', '\x1b[31mred', '\\u001b[31mred'],
  ['a bell and a backspace', 'a\x07\b', 'a\\u0007\\u0008'],
  ['a carriage return', 'a\rb', 'a\\u000db'],
  ['a null and DEL', '\0\x7f', '\\u0000\\u007f'],
  ['the one-byte CSI of C1', '\x9b2J', '\\u009b2J'],
  ['an override of the direction', 'photo\u202egnp.exe', 'photo\\u202egnp.exe'],
  ['isolates and marks', '\u2066a\u2069\u200f\u061c', '\\u2066a\\u2069\\u200f\\u061c'],
  ['line separators', 'a\u2028b\u2029', 'a\\u2028b\\u2029'],
  ['other scripts, accents, emoji', 'Żółć 日本 مرحبا 👩‍👧', 'Żółć 日本 مرحبا 👩‍👧'],
  ['line breaks and tabs', 'a\n\tb', 'a\n\tb'],
];

for (const [what, text, escaped] of cases) {
  test(`${what}: ${JSON.stringify(escaped)}`, () => assert.is(escapeControls(text), escaped));
  test(`${what} in JSON and XML is the same text`, () => {
    assert.is(JSON.parse(escapeControls(JSON.stringify(text))), text);
    const document = escapeXmlControls(text);
    assert.is(
      document.replace(/&#x([0-9a-f]+);/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
      text,
    );
  });
}

test('a name is on one line', () => {
  assert.is(nameOnOneLine('a\nflorence2: b\tc'), 'a\\nflorence2: b\\tc');
});

test.run();
