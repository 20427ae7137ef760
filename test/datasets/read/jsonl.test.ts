import { createWriteStream } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { finished } from 'node:stream/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openDataset } from '../../../src/datasets/open.ts';
import type { DatasetProblem } from '../../../src/datasets/reading.ts';
import { Florence2Error } from '../../../src/errors.ts';
import { readLines } from '../../../src/files/lines.ts';
import { bmp, inFolder } from '../folder.ts';

const image = bmp(4, 3);
const lines = (...rows: unknown[]): string => rows.map(row => JSON.stringify(row)).join('\n');

test('the rows of an image are one example, each with its line', async () => {
  const dog = 'dog<loc_1><loc_2><loc_3><loc_4>';
  const rows = lines(
    { image: 'a.bmp', prefix: '<OD>', suffix: dog },
    { image: 'sub/b.bmp', prefix: '<CAPTION_TO_PHRASE_GROUNDING>a dog', suffix: dog },
    { image: 'a.bmp', prefix: 'What is this?', suffix: 'A dog.', annotator: 'x' },
    { image: './a.bmp', prefix: '<REGION_TO_CATEGORY><loc_1><loc_2><loc_3><loc_4>', suffix: 'dog' },
    { image: 'a.bmp', task: '<OD>', text: null, answer: { boxes: [{ label: 'dog', box: [0, 0, 2, 2] }] } },
    { image: 'sub/b.bmp', task: '<REGION_TO_OCR>', box: [0, 0, 2, 2], answer: { text: 'A' } },
    { image: '../outside.bmp', prefix: '<OD>', suffix: '' },
  );
  const files = { 'set/a.bmp': image, 'set/sub/b.bmp': image, 'outside.bmp': image, 'set/annotations.jsonl': rows };
  await inFolder(files, async folder => {
    const file = join(folder, 'set/annotations.jsonl');
    await rejects(openDataset(file), /:7: The image \.\.\/outside\.bmp lies outside the dataset's folder .*set\./);
    const dataset = await openDataset(file, { imageRoot: folder });
    assert.is(dataset.name, file);
    assert.is(dataset.length, 3);
    assert.equal(await dataset.example(0), {
      image: join(folder, 'set/a.bmp'),
      file: 'a.bmp',
      source: `${file}:1`,
      targets: [
        { task: '<OD>', answer: dog, source: `${file}:1` },
        { task: 'What is this?', answer: 'A dog.', source: `${file}:3` },
        { task: '<REGION_TO_CATEGORY>', text: '<loc_1><loc_2><loc_3><loc_4>', answer: 'dog', source: `${file}:4` },
        { task: '<OD>', answer: { boxes: [{ label: 'dog', box: [0, 0, 2, 2] }] }, source: `${file}:5` },
      ],
    });
    assert.equal((await dataset.example(1)).targets, [
      { task: '<CAPTION_TO_PHRASE_GROUNDING>', text: 'a dog', answer: dog, source: `${file}:2` },
      { task: '<REGION_TO_OCR>', box: [0, 0, 2, 2], answer: { text: 'A' }, source: `${file}:6` },
    ]);
    assert.is((await dataset.example(2)).image, join(folder, 'outside.bmp'));
    await rejects(Promise.resolve(dataset.example(3)), /has no example 3: it has 3/);
    assert.is((await openDataset(file, { tasks: ['<REGION_TO_OCR>'], imageRoot: folder })).length, 1);
    assert.is((await openDataset(file, { tasks: ['od', 'region-ocr'], imageRoot: folder })).length, 3);
    await rejects(openDataset(file, { tasks: ['odd'], imageRoot: folder }), /Unknown task "odd"\. Did you mean "od"\?/);
  });
});

test('byte order mark, CRLF, blank lines, absolute paths, U+2028 within a string', async () => {
  await inFolder({ 'a.bmp': image }, async folder => {
    const row = (suffix: string): string =>
      JSON.stringify({ image: join(folder, 'a.bmp'), prefix: '<CAPTION>', suffix });
    assert.ok(isAbsolute(join(folder, 'a.bmp')));
    await inFolder({ 'x.jsonl': `\uFEFF\r\n${row('A\u2028b')}\r\n\r\n  \n${row('犬 "é"')}\n` }, async other => {
      const dataset = await openDataset(join(other, 'x.jsonl'), { imageRoot: folder });
      assert.is(dataset.length, 1);
      assert.equal(
        (await dataset.example(0)).targets.map(({ answer }) => answer),
        ['A\u2028b', '犬 "é"'],
      );
      assert.is((await dataset.example(0)).source, `${join(other, 'x.jsonl')}:2`);
    });
  });
});

test('errors name the file and line', async () => {
  const good = { image: 'a.bmp', prefix: '<OD>', suffix: '' };
  const cases: [row: unknown, message: RegExp][] = [
    ['{"image": "a.bmp", ', /The line is not JSON: /],
    ['["a.bmp"]', /The line is \["a\.bmp"\], expected an object/],
    [{ prefix: '<OD>', suffix: '' }, /The field image is missing; the line has prefix, suffix\./],
    [{ ...good, image: 3 }, /The field image is 3, expected a text/],
    [{ ...good, image: 'none.bmp' }, /The image none\.bmp does not exist: looked for .*none\.bmp\./],
    [{ image: 'a.bmp', suffix: '' }, /The field prefix is missing/],
    [{ image: 'a.bmp', prefix: '<OD>' }, /The field suffix is missing/],
    [{ image: 'a.bmp', prefix: '<OD>', suffix: null }, /The field suffix is missing/],
    [{ image: 'a.bmp', answer: { text: 'x' } }, /The field task is missing/],
    [{ ...good, answer: { text: 'x' } }, /both a suffix and an answer/],
    [{ ...good, prefix: '<REGION_PROPOSALS>' }, /Did you mean <REGION_PROPOSAL>\?/],
    [{ ...good, prefix: '<od>' }, /"<od>" is not a task token\. Did you mean <OD>\?/],
    [{ ...good, prefix: '<CAPTIONS>', suffix: 'x' }, /Did you mean <CAPTION>\?/],
    [{ ...good, prefix: ' ' }, /The prompt is empty/],
    [{ ...good, prefix: '<OD>dog' }, /Task <OD> \(od\) takes no text/],
    [{ ...good, prefix: '<CAPTION_TO_PHRASE_GROUNDING>' }, /needs a text/],
    [{ ...good, prefix: '<REGION_TO_OCR><loc_1>' }, /needs a region/],
    [
      { ...good, prefix: '<REGION_TO_OCR><loc_1><loc_1><loc_1><loc_1000>', suffix: 'x' },
      /The prompt contains <loc_1000>/,
    ],
    [{ ...good, suffix: 'dog<loc_1><loc_2><loc_3><loc_1000>' }, /The answer contains <loc_1000>/],
    [{ ...good, suffix: 'dog<loc_1><loc_2><loc_3>' }, /is answered by labels, each followed by four locations/],
    [{ image: 'a.bmp', task: 'od', answer: { boxes: [] } }, /"od" is not a task token\. Did you mean <OD>\?/],
    [{ image: 'a.bmp', task: '<OD>', answer: { text: 'x' } }, /is answered by boxes/],
    [{ image: 'a.bmp', task: '<OD>', text: 3, answer: { boxes: [] } }, /text is 3, expected words/],
    [
      { image: 'a.bmp', task: '<REGION_TO_OCR>', box: [4, 0, 2, 2], answer: { text: 'x' } },
      /box is \[4,0,2,2\], expected/,
    ],
    [{ image: 'a.bmp', task: 'Find it', box: [0, 0, 2, 2], answer: { text: 'x' } }, /takes no box/],
    [{ image: 'a.bmp', task: '<OVD>', answer: { text: 'x' } }, /not a task token/],
    [{ image: 'a.bmp', task: '<OPEN_VOCABULARY_DETECTION>dog', answer: { boxes: [] } }, /give the token as the task/],
  ];
  const written = cases.map(([row]) => (typeof row === 'string' ? row : JSON.stringify(row)));
  await inFolder({ 'a.bmp': image, 'x.jsonl': [...written, JSON.stringify(good)].join('\n') }, async folder => {
    const file = join(folder, 'x.jsonl');
    const problems: DatasetProblem[] = [];
    const dataset = await openDataset(file, { onProblem: problem => problems.push(problem) });
    assert.is(dataset.length, 1, 'the valid line is kept');
    assert.is(problems.length, cases.length, JSON.stringify(problems, null, 1));
    for (const [i, [row, message]] of cases.entries()) {
      assert.is(problems[i].source, `${file}:${i + 1}`, JSON.stringify(row));
      assert.match(problems[i].message, message);
      assert.not.match(problems[i].message, /\n/);
      assert.is(problems[i].severity, 'error');
    }
    await rejects(openDataset(file), /x\.jsonl:1: The line is not JSON/);
    await rejects(openDataset(join(folder, 'none.jsonl')), /none\.jsonl does not exist/);
    await rejects(openDataset(folder), /line is not JSON/);
    await inFolder({ 'empty.jsonl': '\n' }, other =>
      rejects(openDataset(join(other, 'empty.jsonl')), /The file has no examples/),
    );
  });
});

test('custom prompts may begin with a custom token unless it resembles a task token', async () => {
  const prompts = ['<DocVQA>What is the total?', '<OMR>', '<ACTION>', '<REGION_CAPTION>', '<ID>', 'Read the meter.'];
  const rows = lines(...prompts.map(prefix => ({ image: 'a.bmp', prefix, suffix: '3' })));
  await inFolder({ 'a.bmp': image, 'x.jsonl': rows }, async folder => {
    const { targets } = await (await openDataset(join(folder, 'x.jsonl'))).example(0);
    assert.equal(
      targets.map(({ task }) => task),
      prompts,
    );
  });
});

test('lines may span any number of chunks', async () => {
  await inFolder({}, async folder => {
    const file = join(folder, 'long.txt');
    const stream = createWriteStream(file);
    const expected = Array.from({ length: 3000 }, (_, i) => `${i} ${'é犬'.repeat(i % 97)}`);
    for (const [i, line] of expected.entries()) stream.write(line + (i % 3 ? '\n' : '\r\n\n'));
    stream.end('the last');
    await finished(stream);
    const read: string[] = [];
    let number = 0;
    for await (const { line, text } of readLines(file)) {
      assert.ok(line > number);
      number = line;
      read.push(text);
    }
    assert.equal(read, [...expected.map(line => line.trim()), 'the last']);
    assert.is(number, 3000 + 1000 + 1);
  });
});

async function rejects(promise: Promise<unknown>, message: RegExp): Promise<void> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof Florence2Error, String(error));
    assert.match((error as Error).message, message);
    return;
  }
  assert.unreachable(`expected an error like ${message}`);
}

test.run();
