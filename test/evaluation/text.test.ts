import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { editSimilarity, exactMatch } from '../../src/evaluation/text.ts';

/** Distances counted by hand. */
const cases: [truth: string, answer: string, similarity: number, exact: number, why: string][] = [
  ['kitten', 'sitting', 1 - 3 / 7, 0, 'two replaced, one added; seven is the longer'],
  ['sitting', 'kitten', 1 - 3 / 7, 0, 'the same the other way round'],
  ['STOP', 'STOP', 1, 1, 'equal'],
  ['STOP', 'stop', 0, 0, 'case counts'],
  ['a red ball', ' a  red\nball ', 1, 1, 'white space is one space, and none at the ends'],
  ['a red ball', 'a redball', 1 - 1 / 10, 0, 'but not nothing'],
  ['', '', 1, 1, 'nothing is to be said and nothing is'],
  ['', ' \n', 1, 1, 'white space alone is nothing'],
  ['abc', '', 0, 0, 'all is missing'],
  ['', 'abc', 0, 0, 'all is too much'],
  ['Straße', 'Strasse', 1 - 2 / 7, 0, 'one replaced, one added'],
];

for (const [truth, answer, similarity, exact, why] of cases) {
  test(`${JSON.stringify(truth)} and ${JSON.stringify(answer)}: ${why}`, () => {
    assert.is(editSimilarity(truth, answer), similarity);
    assert.is(exactMatch(truth, answer), exact);
  });
}

test.run();
