import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findJobs, testFolder } from './runner/jobs.ts';
import { PassedJobs } from './runner/passed.ts';
import { printSummary } from './runner/report.ts';

const runner = fileURLToPath(new URL('./run.ts', import.meta.url));
const uvu = import.meta.resolve('uvu');
const suite = (...tests: string[]) => `import { test } from '${uvu}';\n${tests.join('\n')}\ntest.run();\n`;
const good = "test('good', () => {});";
const bad = "test('bad', () => { throw new Error('this is why'); });";

/** Runs the runner over a folder of these files. BACKEND stands for the relative path to test/backend.ts. */
function run(
  files: Record<string, string>,
  ...args: string[]
): { code: number | null; lines: string[]; output: string } {
  const folder = mkdtempSync(join(tmpdir(), 'florence2-test-'));
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}');
  const backend = relative(folder, join(dirname(runner), 'backend.ts'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text.replace('BACKEND', name.includes('/') ? `../${backend}` : backend));
  }
  const command = ['--import', 'tsx', runner, '--folder', folder, ...args];
  const { stdout, stderr, status } = spawnSync(process.execPath, command, { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  return { code: status, lines: stdout.trim().split('\n'), output: stdout + stderr };
}

/** The text that the line of each file must contain. All files share one run: starting processes takes most of the time. */
const files: Record<string, { text: string; line: RegExp; says?: RegExp }> = {
  'good.test.ts': { text: suite(good, good), line: /^✓ .* 2 passed +\(/ },
  'skipped.test.ts': { text: suite(good, "test.skip('later', () => {});"), line: /^✓ .* 1 passed, 1 skipped +\(/ },
  'bad.test.ts': { text: suite(good, bad), line: /^✗ .* 1 passed, 1 failed +\(/, says: /this is why/ },
  'empty.test.ts': { text: "import 'node:fs';", line: /^✗ .* 0 passed, ran no test +\(/ },
  'early.test.ts': {
    text: `throw new Error('too early');\n${suite(good)}`,
    line: /^✗ .* 0 passed, ended with code 1 and ran no test +\(/,
    says: /too early/,
  },
  'killed.test.ts': {
    text: `${suite(good)}setTimeout(() => process.kill(process.pid, 'SIGSEGV'), 300);`,
    line: /^✗ .* 1 passed, killed by SIGSEGV +\(/,
  },
  'code.test.ts': {
    text: `${suite(good)}setTimeout(() => process.exit(3), 300);`,
    line: /^✗ .* 1 passed, ended with code 3 though its tests passed +\(/,
  },
};

test('every way to fail is reported', () => {
  const texts = Object.fromEntries(Object.entries(files).map(([name, { text }]) => [name, text]));
  const { code, lines, output } = run({ ...texts, 'x.slow.test.ts': suite(bad), 'helper.ts': bad });
  for (const [name, { line, says = /./ }] of Object.entries(files)) {
    const found = lines.find(text => text.slice(2).startsWith(name));
    assert.ok(found, `no line for ${name}:\n${output}`);
    assert.match(found, line);
    assert.match(output, says);
  }
  assert.not.ok(output.includes('x.slow'), 'slow files run only with --slow');
  assert.is(lines.at(-1), '6 passed, 5 failed, 1 skipped');
  assert.is(code, 1);
});

test('slow files, and a filter', () => {
  const texts = { 'a.test.ts': suite(bad), 'b.slow.test.ts': suite(good) };
  const { code, lines } = run(texts, '--slow', 'b.');
  assert.is(lines.at(-1), '1 passed, 0 failed');
  assert.is(code, 0);
});

test('a file that exceeds its time limit', () => {
  const { code, output } = run({ 'a.test.ts': `${suite(good)}setInterval(() => {}, 1000);` }, '--minutes', '0.05');
  assert.match(output, 'took more than 0.05 minutes');
  assert.is(code, 1);
});

test('a file that needs a backend runs once for each, on cpu only if it is about layers', () => {
  const text = `import { testBackend } from 'BACKEND';\n${suite('void testBackend;', good)}`;
  const { output } = run({ 'a.test.ts': text, 'nn/b.test.ts': text });
  for (const name of ['cpu', 'wasm']) assert.match(output, new RegExp(`b\\.test\\.ts \\[${name}\\] +1 passed`));
  assert.match(output, /a\.test\.ts \[wasm\] +1 passed/);
  assert.not.match(output, /a\.test\.ts \[cpu\]/);
});

test('minutes by file, over all backends', () => {
  const outcome = (file: string, seconds: number, backend?: 'cpu' | 'wasm') => {
    return { file, backend, seconds, passed: 1, failed: 0, skipped: 0, output: '' };
  };
  const lines: string[] = [];
  const { log } = console;
  console.log = (line = '') => void lines.push(line);
  try {
    printSummary(
      [outcome('b', 30), outcome('a', 60, 'cpu'), outcome('a', 30, 'wasm'), outcome('c', 3)],
      '.',
      new Map(),
    );
  } finally {
    console.log = log;
  }
  const table = lines.slice(0, 3);
  assert.is(table[0], '\nminutes  file');
  assert.match(table[1], /^ {4}1\.5 {2}a +cpu 1\.0, wasm 0\.5$/);
  assert.is(table[2], '    0.5  b');
  assert.not.ok(lines.some(line => line.endsWith('  c')));
  assert.is(lines.at(-1), '\n4 passed, 0 failed');
});

test('what passed is remembered for the same sources and backends', () => {
  const record = join(mkdtempSync(join(tmpdir(), 'florence2-test-')), 'passed.json');
  const job = { file: runner, backend: 'wasm' as const };
  const first = new PassedJobs(['wasm'], record);
  assert.not.ok(first.has(job));
  first.add(job);
  first.add({ file: runner });
  first.save();
  const again = new PassedJobs(['wasm'], record);
  assert.ok(again.has(job) && again.has({ file: runner }));
  assert.not.ok(again.has({ file: runner, backend: 'cpu' }));
  assert.not.ok(new PassedJobs(['wasm', 'tensorflow'], record).has({ file: runner }), 'commands may choose tensorflow');
  writeFileSync(record, readFileSync(record, 'utf8').replace(/"state":"\w/, '"state":"x'));
  assert.not.ok(new PassedJobs(['wasm'], record).has(job), 'other sources');
});

test('groups by name', () => {
  const { code, output } = run({ 'a.test.ts': suite(good) }, '--group', 'brwoser');
  assert.is(code, 1);
  assert.match(output, /--group brwoser: there is no such group \(browser, cli, /);
  assert.match(
    run({ 'house.test.ts': suite(good), 'a.test.ts': suite(bad) }, '--group', 'browser').output,
    /\n1 passed, 0 failed/,
  );
});

test('webgpu runs kernels, gradients and a comparison with PyTorch, and all files with --long', () => {
  const selection = { folder: testFolder, slow: true, filters: [] };
  const [quick, all] = [false, true].map(long =>
    findJobs({ ...selection, long }, ['webgpu']).flatMap(({ file, backend }) =>
      backend === 'webgpu' ? [relative(testFolder, file).replaceAll('\\', '/')] : [],
    ),
  );
  for (const name of ['nn/kernels', 'training/gradients', 'parity/check']) assert.ok(quick.includes(`${name}.test.ts`));
  for (const name of ['florence2', 'internals/patching', 'training/trainer', 'generation/reference']) {
    assert.not.ok(quick.includes(`${name}.test.ts`), name);
    assert.ok(all.includes(`${name}.test.ts`), name);
  }
});

test('no file and no such backend are failures', () => {
  assert.is(run({}).code, 1);
  const { code, output } = run({ 'a.test.ts': suite(good) }, '--backend', 'metal');
  assert.is(code, 1);
  assert.match(output, 'there is no such backend');
});

test.run();
