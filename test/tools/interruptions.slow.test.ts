import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { differences, type Outcome } from '../../tools/interruptions.ts';

const script = fileURLToPath(new URL('../../tools/interruptions.ts', import.meta.url));

test('files and losses are compared', () => {
  const outcome = (text: string, losses: number[]): Outcome => ({
    files: new Map([['latest/a', Buffer.from(text)]]),
    losses,
  });
  assert.equal(differences(outcome('x', [1, 2]), outcome('x', [1, 2])), []);
  assert.equal(differences(outcome('x', [1, 2]), outcome('y', [1, 3])), ['latest/a', 'the losses']);
  assert.equal(differences(outcome('x', [1]), { files: new Map(), losses: [1] }), ['latest/a']);
  assert.equal(differences({ files: new Map(), losses: [1] }, outcome('x', [1])), ['latest/a']);
});

test('killed runs, and those whose power was cut, end like an uninterrupted one', async () => {
  const flags = ['--import', 'tsx', script, '--kills', '2', '--power-cuts', '5', '--seed', '3'];
  const { stdout } = await promisify(execFile)(process.execPath, flags);
  assert.match(stdout, /^5 power cuts at \d+ moments, \d+ before the first save: 0 differences$/m);
  assert.match(stdout, /^2 kills of \d+ runs: 0 differences$/m);
});

test.run();
