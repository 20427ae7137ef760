import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../src/errors.ts';
import { duplicateKey, Fields, parseJsonObject } from '../src/json.ts';

for (const [text, expected] of [
  ['{"a":1,"a":2}', ['a']],
  ['{"x":{"a":1},"y":{"b":[{"c":1,"c":2}]}}', ['y', 'b', 'c']],
  ['{"a":"\\"a\\":1, \\\\","b":1}', undefined],
  ['{"\\u0061":1,"a":2}', ['a']],
  ['[{"a":1},{"a":2}]', undefined],
] as const) {
  test(`duplicate keys of ${text}`, () => assert.equal(duplicateKey(text), expected));
}

test('texts of megabytes with escapes, and deep lists, have no duplicate key', () => {
  assert.is(duplicateKey(JSON.stringify({ a: '"\n'.repeat(5e6) })), undefined);
  assert.is(duplicateKey(`{"a":${'['.repeat(5e5)}${']'.repeat(5e5)}}`), undefined);
});

test('errors about deep values are one short line', () => {
  const deep = `{"a":${'['.repeat(1e5)}${']'.repeat(1e5)}}`;
  const fields = new Fields(parseJsonObject(deep, 'x.json'), 'x.json');
  for (const read of [
    () => fields.number('a'),
    () => fields.only('a', [true], 'why'),
    () => fields.only('a', [[1]], 'why'),
  ]) {
    let error: unknown;
    try {
      read();
    } catch (thrown) {
      error = thrown;
    }
    assert.instance(error, Florence2Error);
    assert.match((error as Error).message, /^x\.json: a is \[{7}…\]{7}[,;]/);
  }
});

test.run();
