import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

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
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text.replace('BACKEND', backend));
  const command = ['--import', 'tsx', runner, '--folder', folder, ...args];
  const { stdout, stderr, status } = spawnSync(process.execPath, command, { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  return { code: status, lines: stdout.trim().split('\n'), output: stdout + stderr };
}

/** File -> what its line must say. One run for all of them: starting processes is what takes the time. */
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

test('every way to fail is seen, and said', () => {
  const texts = Object.fromEntries(Object.entries(files).map(([name, { text }]) => [name, text]));
  const { code, lines, output } = run({ ...texts, 'x.slow.test.ts': suite(bad), 'helper.ts': bad });
  for (const [name, { line, says = /./ }] of Object.entries(files)) {
    const found = lines.find(text => text.slice(2).startsWith(name));
    assert.ok(found, `no line for ${name}:\n${output}`);
    assert.match(found, line);
    assert.match(output, says);
  }
  assert.not.ok(output.includes('x.slow'), 'slow files run only when asked for');
  assert.is(lines.at(-1), '6 passed, 5 failed, 1 skipped');
  assert.is(code, 1);
});

test('slow files, and a filter', () => {
  const texts = { 'a.test.ts': suite(bad), 'b.slow.test.ts': suite(good) };
  const { code, lines } = run(texts, '--slow', 'b.');
  assert.is(lines.at(-1), '1 passed, 0 failed');
  assert.is(code, 0);
});

test('a file that does not end', () => {
  const { code, output } = run({ 'a.test.ts': `${suite(good)}setInterval(() => {}, 1000);` }, '--minutes', '0.05');
  assert.match(output, 'took more than 0.05 minutes');
  assert.is(code, 1);
});

test('a file that needs a backend runs once for each', () => {
  const { output } = run({
    'a.test.ts': `import { testBackend } from 'BACKEND';\n${suite('void testBackend;', good)}`,
  });
  for (const name of ['cpu', 'wasm']) assert.match(output, new RegExp(`a\\.test\\.ts \\[${name}\\] +1 passed`));
});

test('no file and no such backend are failures', () => {
  assert.is(run({}).code, 1);
  const { code, output } = run({ 'a.test.ts': suite(good) }, '--backend', 'metal');
  assert.is(code, 1);
  assert.match(output, 'there is no such backend');
});

test.run();
