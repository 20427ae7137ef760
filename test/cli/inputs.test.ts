import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findInputs } from '../../src/cli/inputs.ts';
import type { PdfFlags } from '../../src/cli/pdf_pages.ts';
import { Florence2Error, UsageError } from '../../src/errors.ts';
import { decodeImage } from '../../src/image/decode.ts';
import type { RawImage } from '../../src/image/types.ts';
import { pdfBytes } from '../image/pdf_bytes.ts';

const scene = 'docs/scenes/scene-1.png';

/** Runs a function while standard input is this stream. */
async function withStdin<T>(stdin: Readable | { isTTY: boolean }, fn: () => Promise<T>): Promise<T> {
  const original = Object.getOwnPropertyDescriptor(process, 'stdin')!;
  Object.defineProperty(process, 'stdin', { value: stdin, configurable: true });
  try {
    return await fn();
  } finally {
    Object.defineProperty(process, 'stdin', original);
  }
}

const failure = (args: string[], stdin: Readable | { isTTY: boolean }): Promise<Error> =>
  withStdin(stdin, () => findInputs(args)).then(() => assert.unreachable(), error => error); // biome-ignore format: one line

test('- is the image on standard input, in its place among the others', async () => {
  const bytes = readFileSync(scene);
  const chunks = [bytes.subarray(0, 100), bytes.subarray(100)];
  const inputs = await withStdin(Readable.from(chunks), () => findInputs(['docs/scenes/scene-2.png', '-']));
  assert.equal(inputs.map(({ name, output }) => [name, output]), [['docs/scenes/scene-2.png', 'scene-2'], ['-', 'stdin']]); // biome-ignore format: one line
  assert.equal(await decodeImage(await inputs[1].read()), await decodeImage(scene));
});

test('standard input that is named twice, empty or a terminal is an error', async () => {
  const twice = await failure(['-', scene, '-'], Readable.from([]));
  assert.instance(twice, UsageError);
  assert.match(twice.message, /^- is given twice/);
  const empty = await failure(['-'], Readable.from([]));
  assert.instance(empty, Florence2Error);
  assert.is(empty.message, 'Standard input is empty.');
  const terminal = await failure(['-'], { isTTY: true });
  assert.instance(terminal, UsageError);
  assert.match(terminal.message, /which is a terminal/);
});

test('errors about the image name standard input', async () => {
  const [input] = await withStdin(Readable.from([Buffer.from('no image')]), () => findInputs(['-']));
  const error = await decodeImage(await input.read()).catch(error => error);
  assert.match(error.message, /^Standard input /);
});

const folder = mkdtempSync(join(tmpdir(), 'florence2-inputs-'));
const pdf = join(folder, 'paper.pdf');
writeFileSync(pdf, pdfBytes(Array.from({ length: 11 }, (_, i) => ({ size: [10 + i, 10], content: '' }))));

test('each page of a PDF file is an image', async () => {
  const inputs = await findInputs([pdf, scene], { pages: '9-10,2', dpi: 72 });
  assert.equal(inputs.map(({ name }) => name), [...[9, 10, 2].map(page => `${pdf}#page=${page}`), scene]); // biome-ignore format: one line
  assert.equal(inputs.map(({ output }) => basename(output)), ['paper.page-09', 'paper.page-10', 'paper.page-02', 'scene-1']); // biome-ignore format: one line
  const page = (await inputs[0].read()) as RawImage;
  assert.equal([page.width, page.height], [18, 10]);
  assert.is((await findInputs([pdf])).length, 11);
});

test('one page by its name, and a PDF file on standard input', async () => {
  assert.equal((await findInputs([`${pdf}#page=4`])).map(({ name }) => name), [`${pdf}#page=4`]); // biome-ignore format: one line
  const inputs = await withStdin(Readable.from([readFileSync(pdf)]), () => findInputs(['-'], { pages: '3' }));
  assert.equal(inputs.map(({ name, output }) => [name, output]), [['-#page=3', 'stdin.page-03']]); // biome-ignore format: one line
});

test('--pages and --dpi without a PDF file, and wrong pages, are errors', async () => {
  const wrong: [args: string[], flags: PdfFlags, message: string][] = [
    [[scene], { pages: '1' }, '--pages is for PDF files, but none is given.'],
    [[scene], { dpi: 72 }, '--dpi is for PDF files, but none is given.'],
    [[pdf], { pages: '12' }, `Pages 12: ${pdf} has the pages 1 to 11.`],
    [[`${pdf}#page=12`], {}, `Pages 12: ${pdf} has the pages 1 to 11.`],
    [[join(folder, 'none.pdf#page=1')], {}, `${join(folder, 'none.pdf')} does not exist.`],
  ];
  for (const [args, flags, message] of wrong) {
    const error = await findInputs(args, flags).catch(error => error);
    assert.is(error.message, message);
  }
});

test('without the optional package, the error says how to install it', () => {
  const hooks = 'export const resolve = (name, context, next) => { if (name === "@hyzyla/pdfium") throw new Error("none"); return next(name, context); };'; // biome-ignore format: one line
  const register = `import { register } from 'node:module'; register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}));`;
  const args = ['--import', 'tsx', '--import', `data:text/javascript,${encodeURIComponent(register)}`, 'src/cli/main.ts', 'run', pdf, '-t', 'ocr']; // biome-ignore format: one line
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  assert.equal({ status, stderr }, { status: 1, stderr: 'florence2: PDF files need an optional package: npm install @hyzyla/pdfium\n' }); // biome-ignore format: one line
});

test.after(() => rmSync(folder, { recursive: true }));
test.run();
