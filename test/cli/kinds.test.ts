import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as kinds from '../../src/cli/kinds.ts';

for (const [kind, text, value] of [
  [kinds.names, 'q_proj,v_proj', ['q_proj', 'v_proj']],
  [kinds.names, 'q_proj', ['q_proj']],
  [kinds.names, ' q_proj , fc1 ', ['q_proj', 'fc1']],
  [kinds.names, '/.*\\.fc[1,2]/', '.*\\.fc[1,2]'],
  [kinds.names, 'all-linear', 'all-linear'],
  [kinds.list, 'shared', ['shared']],
  [kinds.pair, '0.9,0.98', [0.9, 0.98]],
  [kinds.number, '5e-5', 5e-5],
  [kinds.count, '12', 12],
  [kinds.bytes, '500MB', 500e6],
  [kinds.bytes, '2GiB', 2 * 1024 ** 3],
  [kinds.bytes, '1.5 gb', 1.5e9],
  [kinds.bytes, '64kib', 65536],
  [kinds.bytes, '2G', 2e9],
  [kinds.bytes, '2147483648', 2147483648],
] as [kinds.Kind, string, unknown][]) {
  test(`${text} is ${JSON.stringify(value)}`, () => {
    assert.equal(kind.read(text), value);
    assert.ok(kind.allows(value));
  });
}

for (const [kind, text] of [
  [kinds.names, 'a,,b'],
  [kinds.names, ''],
  [kinds.pair, '0.9'],
  [kinds.pair, '0.9,2'],
  [kinds.number, '-1'],
  [kinds.number, ''],
  [kinds.number, 'Infinity'],
  [kinds.count, '0'],
  [kinds.whole, '1.5'],
  [kinds.bytes, '2 apples'],
  [kinds.bytes, 'GB'],
  [kinds.bytes, '-1GB'],
  [kinds.bytes, ''],
  [kinds.share, '1.01'],
  [kinds.text('<x>'), ''],
] as [kinds.Kind, string][]) {
  test(`${JSON.stringify(text)} is not ${kind.expected}`, () => assert.not.ok(kind.allows(kind.read(text))));
}

test.run();
