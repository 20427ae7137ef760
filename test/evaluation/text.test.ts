import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { editSimilarity, exactMatch } from '../../src/evaluation/text.ts';

/** The distances are counted by hand. */
const cases: [truth: string, answer: string, similarity: number, exact: number, why: string][] = [
  ['kitten', 'sitting', 1 - 3 / 7, 0, 'two replaced, one inserted, seven characters in the longer text'],
  ['sitting', 'kitten', 1 - 3 / 7, 0, 'symmetric'],
  ['STOP', 'STOP', 1, 1, 'equal'],
  ['STOP', 'stop', 0, 0, 'case-sensitive'],
  ['a red ball', ' a  red\nball ', 1, 1, 'runs of white space are one space and ignored at the ends'],
  ['a red ball', 'a redball', 1 - 1 / 10, 0, 'a missing space counts'],
  ['', '', 1, 1, 'two empty texts'],
  ['', ' \n', 1, 1, 'white space is an empty text'],
  ['abc', '', 0, 0, 'all characters missing'],
  ['', 'abc', 0, 0, 'all characters surplus'],
  ['Straße', 'Strasse', 1 - 2 / 7, 0, 'one replaced, one inserted'],
];

for (const [truth, answer, similarity, exact, why] of cases) {
  test(`${JSON.stringify(truth)} and ${JSON.stringify(answer)}: ${why}`, () => {
    assert.is(editSimilarity(truth, answer), similarity);
    assert.is(exactMatch(truth, answer), exact);
  });
}

test.run();
