import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { describe, exitOnError, printError } from '../../src/cli/exit.ts';
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

const onLinux = existsSync('/dev/full') ? test : test.skip;

onLinux('a full disk under standard output is an error that says so', () => {
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
  const full = openSync('/dev/full', 'w');
  const options = { stdio: ['ignore', full, 'pipe'] as ['ignore', number, 'pipe'], encoding: 'utf8' as const };
  const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', main, '--help'], options);
  closeSync(full);
  assert.equal({ status, stderr }, { status: 1, stderr: 'florence2: Standard output cannot be written: the disk is full.\n' }); // biome-ignore format: one line
});

test('warnings of the library have the same prefix', async () => {
  const { write } = process.stderr;
  let shown = '';
  process.stderr.write = (text: string | Uint8Array) => {
    shown += text;
    return true;
  };
  const { warn } = console;
  try {
    await exitOnError(async () => console.warn('photo.jpg is %s.', 'turned\x1b[1m'));
  } finally {
    process.stderr.write = write;
  }
  assert.is(shown, 'florence2: photo.jpg is turned\\u001b[1m.\n');
  assert.is(console.warn, warn);
});

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
    const [once, twice] = await Promise.all([interrupt(0, [0], signal), interrupt(0, [0, 1000], signal)]);
    assert.equal(once, { code, output: 'ready\nsaved\n' });
    assert.equal(twice, { code, output: 'ready\n' });
  });
}

test.run();
