import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import { judge } from '../../tools/fuzz/judge.ts';
import { KINDS } from '../../tools/fuzz/kinds.ts';
import { mutate } from '../../tools/fuzz/mutate.ts';
import { fuzz } from '../../tools/fuzz.ts';

test('errors are judged by class, length, lines and file', () => {
  const bad = (message: string) => judge(new Florence2Error(message, { code: 'UNKNOWN_OPTION' }), '/f');
  assert.is(bad('/f/a.json is damaged.'), null);
  assert.match(judge(new TypeError('/f'), '/f')!, /^raw error: TypeError: \/f/);
  assert.match(judge('text', '/f')!, /^raw error: text/);
  assert.match(bad('/f is\nbad')!, /^more than one line/);
  assert.match(bad(`/f ${'x'.repeat(500)}`)!, /^503 characters/);
  assert.match(bad('It is damaged.')!, /^does not name the file/);
});

test('the same seed changes the same bytes', () => {
  const bytes = Buffer.from('{"a":[1,2,{"b":"c"}],"d":null}');
  const copies = Array.from({ length: 50 }, (_, i) => Buffer.from(mutate(bytes, true, 7, 'kind', i)).toString());
  assert.equal(
    copies,
    Array.from({ length: 50 }, (_, i) => Buffer.from(mutate(bytes, true, 7, 'kind', i)).toString()),
  );
  assert.ok(new Set(copies).size > 40);
  assert.ok(copies.filter(copy => copy !== bytes.toString()).length > 40);
});

test('a process that dies is a failure', async () => {
  const { failures } = await fuzz({ seconds: 30, seed: 0, kinds: ['nothing of this name'], only: 3 });
  assert.equal(
    failures.map(({ complaint, index }) => [complaint, index]),
    [['the process died', 3]],
  );
});

test('a minute of changed files', async () => {
  const { cases, failures } = await fuzz({ seconds: 60, seed: 1, kinds: Object.keys(KINDS) });
  assert.ok(cases > 200, `only ${cases} cases`);
  assert.equal(failures.slice(0, 3), []);
});

test.run();
