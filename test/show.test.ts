import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { show } from '../src/show.ts';

class Widget {}
const cyclic: unknown[] = [1];
cyclic.push(cyclic);
const deep = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));

for (const [what, value, expected] of [
  ['a text', 'a "b"\n', '"a \\"b\\"\\n"'],
  ['a list', [1, 'a', null, true], '[1,"a",null,true]'],
  ['an object', { a: [1], b: {} }, '{"a":[1],"b":{}}'],
  ['nothing', undefined, 'undefined'],
  ['not a number', [Number.NaN], '[NaN]'],
  ['a long text', 'x'.repeat(1e6), `"${'x'.repeat(56)}…`],
  ['a long list', new Array(1e6).fill(7), `[${'7,'.repeat(28)}…`],
  ['an object of a class', new Widget(), 'an object of type Widget'],
  ['a deep list', deep(100_000), '[[[[[[[…]]]]]]]'],
  ['a list within itself', cyclic, '[1,[1,[1,[1,[1,[1,[…]]]]]]]'],
] as const) {
  test(`shows ${what}`, () => assert.is(show(value), expected));
}

test.run();
