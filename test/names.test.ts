import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { listNames, nearestName, nearestNames, suggestName } from '../src/names.ts';

const options = ['numBeams', 'maxNewTokens', 'useCache', 'at'];

for (const [wanted, near] of [
  ['numBeam', 'numBeams'],
  ['max_new_tokens', 'maxNewTokens'],
  ['USE-CACHE', 'useCache'],
  ['att', 'at'],
  ['uesCache', 'useCache'],
  ['ta', 'at'],
  ['do_sample', undefined],
  ['b', undefined],
] as const) {
  test(`the name near ${wanted} is ${near}`, () => assert.is(nearestName(wanted, options), near));
}

test('the nearest names are in order of their distance', () => {
  assert.equal(nearestNames('hook_z', ['hook_zzz', 'hook_zz', 'hook_y', 'x'], 3), ['hook_zz', 'hook_y', 'hook_zzz']);
  assert.equal(nearestNames('hook_z', [], 3), []);
});

test('without a near name all names are listed', () => {
  assert.is(suggestName('numBeam', options, 'The options'), 'Did you mean numBeams?');
  assert.is(
    suggestName('temperature', options, 'The options'),
    'The options are numBeams, maxNewTokens, useCache and at.',
  );
});

test('names are listed as words', () => {
  assert.is(listNames(['a'], 'or'), 'a');
  assert.is(listNames(['a', 'b', 'c'], 'or'), 'a, b or c');
});

test.run();
