import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error, UsageError } from '../../src/errors.ts';
import { openPdf } from '../../src/image/pdf.ts';
import type { RawImage } from '../../src/image/types.ts';
import { ENCRYPTED, pdfBytes } from './pdf_bytes.ts';

const folder = await mkdtemp(join(tmpdir(), 'florence2-pdf-'));
const red = '1 0 0 rg 20 10 40 30 re f'; // from 20 to 60 points from the left, from 10 to 40 from the bottom
// Four pixels, drawn 40 points wide and high from (100, 20) on: red, green, blue, black.
const image = `q 40 0 0 40 100 20 cm BI /W 2 /H 2 /CS /RGB /BPC 8 ID ${String.fromCharCode(255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0)} EI Q`;
const file = join(folder, 'two.pdf');
await writeFile(file, pdfBytes([{ content: red }, { content: image, size: [595.28, 841.89] }]));

const pixel = ({ data, width }: RawImage, x: number, y: number) => [...data.subarray(3 * (y * width + x), 3 * (y * width + x) + 3)]; // biome-ignore format: one line
const failure = (promise: Promise<unknown>): Promise<Error> => promise.then(() => assert.unreachable(), error => error); // biome-ignore format: one line

test('a page is rendered on white, with its origin at the bottom left', async () => {
  const pdf = await openPdf(file);
  assert.is(pdf.pages, 2);
  const page = await pdf.render(1, 144); // two pixels per point
  assert.equal([page.width, page.height, page.data.length], [400, 200, 400 * 200 * 3]);
  // The square covers x from 40 to 120 and, from the top, y from 200 - 80 to 200 - 20.
  for (const [x, y] of [[42, 122], [117, 122], [42, 177], [117, 177]]) assert.equal(pixel(page, x, y), [255, 0, 0], `${x}, ${y}`); // biome-ignore format: one line
  for (const [x, y] of [[37, 150], [122, 150], [80, 117], [80, 182]]) assert.equal(pixel(page, x, y), [255, 255, 255], `${x}, ${y}`); // biome-ignore format: one line
});

test('a page of A4 has 1240 x 1754 pixels by default; pictures in it are drawn', async () => {
  const page = await (await openPdf(file)).render(2);
  assert.equal([page.width, page.height], [1240, 1754]);
  // The centres of the picture's quadrants are 10 and 30 points from its edges; a point has 150 / 72 pixels.
  const at = (x: number, y: number) => pixel(page, Math.round((x * 150) / 72), Math.round(((841.89 - y) * 150) / 72));
  const centres: [x: number, y: number, color: number[]][] = [
    [110, 50, [255, 0, 0]],
    [130, 50, [0, 255, 0]],
    [110, 30, [0, 0, 255]],
    [130, 30, [0, 0, 0]],
  ];
  for (const [x, y, color] of centres) {
    const apart = Math.max(...at(x, y).map((channel, i) => Math.abs(channel - color[i])));
    assert.ok(apart < 30, `${x}, ${y}: ${at(x, y)}`);
  }
  assert.equal(at(95, 40), [255, 255, 255]);
});

test('bytes are a PDF file too', async () => {
  assert.is((await openPdf(pdfBytes([{ content: red }]))).pages, 1);
});

test('a page that does not exist is an error that says how many there are', async () => {
  const pdf = await openPdf(file);
  for (const page of [0, 3, 1.5]) {
    const error = await failure(pdf.render(page));
    assert.instance(error, UsageError);
    assert.is(error.message, `${file} has no page ${page}: it has 2 pages.`);
  }
});

test('damaged, encrypted and missing files are errors that name the file', async () => {
  const whole = pdfBytes([{ content: red }]);
  const cases: [name: string, bytes: Buffer | undefined, message: string][] = [
    ['text.pdf', Buffer.from('no PDF file'), 'is damaged, or not a PDF file.'],
    ['half.pdf', whole.subarray(0, 60), 'is damaged, or not a PDF file.'],
    ['locked.pdf', pdfBytes([{ content: red }], ENCRYPTED), 'is encrypted: save a copy without a password.'],
    ['missing.pdf', undefined, 'does not exist.'],
  ];
  for (const [name, bytes, message] of cases) {
    const path = join(folder, name);
    if (bytes) await writeFile(path, bytes);
    const error = await failure(openPdf(path));
    assert.instance(error, Florence2Error, name);
    assert.is(error.message, `${path} ${message}`);
  }
});

test('a page with too many pixels is an error before it is rendered', async () => {
  const error = await failure((await openPdf(file)).render(2, 20_000));
  assert.match(
    error.message,
    /two\.pdf, page 2, has 165356 x 233858 pixels, more than the limit of \d+: use fewer dots/,
  );
  const lower = await failure((await openPdf(file)).render(2, 72, 1000));
  assert.match(lower.message, /page 2, has 595 x 842 pixels, more than the limit of 1000/);
});

test.after(() => rm(folder, { recursive: true }));
test.run();
