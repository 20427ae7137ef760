import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pagesOf, pdfArgument } from '../../src/cli/pdf_pages.ts';
import { UsageError } from '../../src/errors.ts';

const lists: [list: string, pages: number[]][] = [
  ['2', [2]],
  ['1-3', [1, 2, 3]],
  ['1-3,5', [1, 2, 3, 5]],
  ['4-', [4, 5, 6]],
  ['6,1', [6, 1]],
  ['1-2, 2-3', [1, 2, 3]],
];
for (const [list, pages] of lists) {
  test(`${list} of 6 pages is ${pages}`, () => assert.equal(pagesOf(list, 'a.pdf', 6), pages)); // biome-ignore format: one line
}

const wrong: [list: string, count: number, message: RegExp][] = [
  ['7', 6, /^Pages 7: a\.pdf has the pages 1 to 6\.$/],
  ['5-7', 6, /a\.pdf has the pages 1 to 6/],
  ['0-2', 6, /a\.pdf has the pages 1 to 6/],
  ['2', 1, /a\.pdf has 1 page\.$/],
  ['3-2', 6, /3-2 ends before it begins/],
  ['one', 6, /expected pages such as 2, 1-3,5 or 4-/],
  ['-3', 6, /expected pages/],
  ['1,,2', 6, /expected pages/],
  ['', 6, /expected pages/],
];
for (const [list, count, message] of wrong) {
  test(`--pages "${list}" of ${count} is refused`, () => {
    try {
      pagesOf(list, 'a.pdf', count);
    } catch (error) {
      assert.instance(error, UsageError);
      assert.match((error as Error).message, message);
      return;
    }
    assert.unreachable();
  });
}

test('a PDF file, or one page of it, is recognised by its name', () => {
  assert.equal(pdfArgument('a/b.PDF'), { file: 'a/b.PDF', page: undefined });
  assert.equal(pdfArgument('a/b.pdf#page=12'), { file: 'a/b.pdf', page: '12' });
  for (const other of ['pdf', 'a.pdf.png', 'a.png#page=2', '-']) assert.is(pdfArgument(other), undefined, other);
});

test.run();
