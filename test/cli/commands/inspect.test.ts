import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Report } from '../../../src/inspect/report.ts';
import { writeRandomCheckpoint } from '../../../tools/random_checkpoint.ts';
import { withoutLeaks } from '../../leaks.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { florence2 } from '../florence2.ts';

const root = temporaryFolder();
const checkpoint = join(root, 'checkpoint');
await writeRandomCheckpoint(checkpoint, { seed: 1 });
const street = fileURLToPath(new URL('../../../docs/pictures/street.jpg', import.meta.url));

/** These tests are about the command, so one backend is enough. */
const inspect = (out: string, ...args: string[]) =>
  withoutLeaks(() => florence2('inspect', '-m', checkpoint, '-b', 'wasm', '-o', join(root, out), ...args));

function readReport(name: string): Report {
  const page = readFileSync(join(root, name), 'utf8');
  return JSON.parse(/<script type="application\/json" id="report">(.*?)<\/script>/s.exec(page)![1]);
}

test('a complete page is written, with the same answer as run', async () => {
  const { code, stdout, stderr } = await inspect('new/od.html', street, '-t', 'od', '--max-new-tokens', '12');
  assert.is(code, 0, stderr);
  assert.match(stderr, /^Backend wasm .*\nWrote .*od\.html \(0\.\d MB\)\.\n$/);
  assert.equal(readdirSync(join(root, 'new')), ['od.html']);
  const report = readReport('new/od.html');
  assert.is(stdout, `${report.answer.text}\n`);
  const { task, title, model, image, tokens } = report;
  assert.equal([task, title, model.name, image.name], ['<OD>', '<OD> · street.jpg', checkpoint, 'street.jpg']);
  assert.equal([image.width, image.height], [768, 512]);
  assert.ok(tokens.length <= 12);
  const args = ['-t', 'od', '--max-new-tokens', '12', '--json'];
  const run = await florence2('run', street, '-m', checkpoint, '-b', 'wasm', ...args);
  assert.is(JSON.parse(run.stdout).answer, report.answer.text);
});

for (const [what, args, prompt] of [
  ['a text', ['-t', 'grounding', '--text', 'A car.'], 'Locate the phrases in the caption: A car.'],
  ['a box', ['-t', 'region-category', '--box', '0,0,768,512'], 'What is the region <loc_0><loc_0><loc_999><loc_999>?'],
  ['a prompt', ['-p', 'How many <b>cars</b>?'], 'How many <b>cars</b>?'],
] as [string, string[], string][]) {
  test(`it accepts ${what}`, async () => {
    const { code, stderr } = await inspect('about.html', street, ...args, '--max-new-tokens', '4', '--beams', '1');
    assert.is(code, 0, stderr);
    assert.is(readReport('about.html').prompt, prompt);
  });
}

for (const [what, args, expected, message] of [
  ['an unknown file extension', [street, '-t', 'od', '-o', 'x.pdf'], 2, /x\.pdf: the page must be an \.html file/],
  ['no output file', [street, '-t', 'od'], 2, /florence2 inspect needs -o, --out <file>\./],
  ['no task', [street, '-o', 'x.html'], 2, /A task is required/],
  ['an unknown task', [street, '-t', 'captoin', '-o', 'x.html'], 2, /Did you mean "caption"/],
  ['a task without its box', [street, '-t', 'region-ocr', '-o', 'x.html'], 2, /needs a region/],
  ['a box for a task without one', [street, '-t', 'od', '--box', '1,2,3,4', '-o', 'x.html'], 2, /takes no box/],
  ['a box without a task', [street, '--box', '1,2,3,4', '-o', 'x.html'], 2, /name the task with --task/],
  ['a prompt with a box', [street, '-p', 'Hm', '--box', '1,2,3,4', '-o', 'x.html'], 2, /takes no --box/],
  ['two images', [street, street, '-t', 'od', '-o', 'x.html'], 2, /Too many arguments/],
  ['no image', [join(root, 'none.jpg'), '-t', 'od', '-o', 'x.html'], 1, /none\.jpg/],
  ['no adapter', [street, '-t', 'od', '--adapter', join(root, 'none'), '-o', 'x.html'], 1, /an adapter is a folder/],
] as [string, string[], number, RegExp][]) {
  test(`${what} is an error of one line`, async () => {
    const { code, stdout, stderr } = await florence2('inspect', '-m', checkpoint, '-b', 'wasm', ...args);
    assert.is(code, expected, stderr);
    assert.is(stdout, '');
    assert.match(stderr, message);
    assert.is(stderr.trimEnd().split('\n').length, 1, stderr);
    assert.not.ok(existsSync('x.html'));
  });
}

test('a page that cannot be written is an error', async () => {
  const { code, stderr } = await inspect(
    'checkpoint/config.json/x.html',
    street,
    '-t',
    'caption',
    '--max-new-tokens',
    '2',
  );
  assert.is(code, 1);
  assert.match(stderr, /config\.json.*(not a folder|already exists|is a file)/);
});

test.run();
