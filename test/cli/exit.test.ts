import { parseArgs } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { describe, report } from '../../src/cli/exit.ts';
import { Florence2Error, UsageError } from '../../src/errors.ts';

function mistyped(): unknown {
  try {
    return parseArgs({ args: ['--sceens', '4'], options: { scenes: { type: 'string' } } });
  } catch (error) {
    return error;
  }
}

const cases: [what: string, error: unknown, code: number, line: RegExp][] = [
  ['a flag that parseArgs does not know', mistyped(), 2, /^Unknown option '--sceens'/],
  ['a wrong call', new UsageError('Use another.'), 2, /^Use another\.$/],
  ['a wrong file', new Florence2Error('Broken.'), 1, /^Broken\.$/],
  [
    'a full disk',
    Object.assign(new Error('x'), { code: 'ENOSPC', path: 'a.png' }),
    1,
    /^a\.png: there is no space left/,
  ],
  [
    'a bug',
    new TypeError('x is not a function'),
    1,
    /^This is a bug, please report it\.\nTypeError: x is not a function\n/,
  ],
];

for (const [what, error, code, line] of cases) {
  test(`${what} is told with exit code ${code}`, () => {
    assert.match(describe(error), line);
    const { write } = process.stderr;
    process.stderr.write = () => true;
    try {
      assert.is(report(error), code);
    } finally {
      process.stderr.write = write;
    }
  });
}

test.run();
