import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { describe, printError } from '../../src/cli/exit.ts';
import { Florence2Error, UsageError } from '../../src/errors.ts';

const exit = new URL('../../src/cli/exit.ts', import.meta.url).href;

function mistyped(): unknown {
  try {
    return parseArgs({ args: ['--sceens', '4'], options: { scenes: { type: 'string' } } });
  } catch (error) {
    return error;
  }
}

const cases: [what: string, error: unknown, code: number, line: RegExp][] = [
  ['a flag unknown to parseArgs', mistyped(), 2, /^Unknown option '--sceens'/],
  ['a wrong call', new UsageError('Use another.'), 2, /^Use another\.$/],
  ['a wrong file', new Florence2Error('Broken.'), 1, /^Broken\.$/],
  ['Ctrl-C', AbortSignal.abort().reason, 130, /^Interrupted\.$/],
  ['a full disk', Object.assign(new Error('x'), { code: 'ENOSPC', path: 'a.png' }), 1, /^a\.png: the disk is full/],
  [
    'a bug',
    new TypeError('x is not a function'),
    1,
    /^This is a bug, please report it\.\nTypeError: x is not a function\n/,
  ],
];

for (const [what, error, code, line] of cases) {
  test(`${what} is reported with exit code ${code}`, () => {
    assert.match(describe(error), line);
    const { write } = process.stderr;
    process.stderr.write = () => true;
    try {
      assert.is(printError(error), code);
    } finally {
      process.stderr.write = write;
    }
  });
}

/** A process that blocks for `busy` ms after the signal to stop, and reports that it has ended cleanly. */
const worker = (busy: number) => `
  import { interruptSignal, stoppedCode } from ${JSON.stringify(exit)};
  const signal = interruptSignal();
  const alive = setInterval(() => {}, 1000);
  signal.addEventListener('abort', () => {
    setTimeout(() => {
      const end = performance.now() + ${busy};
      while (performance.now() < end);
      setTimeout(() => { clearInterval(alive); console.log('saved'); process.exit(stoppedCode()); }, 1500);
    }, 10);
  });
  console.log('ready');
`;

/** Returns its output and exit code if it receives a signal at these times, in milliseconds. */
function interrupt(
  busy: number,
  signalsAt: number[],
  signal: NodeJS.Signals = 'SIGINT',
): Promise<{ code: number | null; output: string }> {
  const args = ['--import', 'tsx', '--input-type', 'module', '--eval', worker(busy)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', text => {
    if (output === '') for (const ms of signalsAt) setTimeout(() => child.kill(signal), ms);
    output += text;
  });
  return new Promise(resolve => child.on('close', code => resolve({ code, output })));
}

test('one Ctrl-C that wrappers forward counts once, even after a long step', async () => {
  assert.equal(await interrupt(900, [0, 100, 200]), { code: 130, output: 'ready\nsaved\n' });
});

test('a second Ctrl-C ends the process at once', async () => {
  assert.equal(await interrupt(0, [0, 1000]), { code: 130, output: 'ready\n' });
});

for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  test(`${signal} ends the process cleanly too, a second one at once`, async () => {
    assert.equal(await interrupt(0, [0], signal), { code, output: 'ready\nsaved\n' });
    assert.equal(await interrupt(0, [0, 1000], signal), { code, output: 'ready\n' });
  });
}

test.run();
