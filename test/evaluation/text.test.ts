import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  anls,
  anlsRrc,
  characterErrors,
  editSimilarity,
  errorRate,
  exactMatch,
  exactMatchPlain,
  wordErrors,
} from '../../src/evaluation/text.ts';
import { hasReference, referenceJson } from '../reference.ts';

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

const path = 'evaluation/text.json';
const near = (found: number, expected: number, what: string) =>
  assert.ok(Math.abs(found - expected) <= 1e-12, `${what}: ${found}, not ${expected}`);

interface Errors {
  rate: number;
  edits: number;
  length: number;
}

if (hasReference(path)) {
  const reference = referenceJson(path);
  const pairs: { truth: string; found: string; wer: Errors; cer: Errors; exact_lmms_eval: boolean }[] =
    reference.errors.pairs;

  test('word and character errors equal those of jiwer', () => {
    assert.ok(pairs.length > 0);
    for (const { truth, found, wer, cer } of pairs) {
      for (const [errors, { rate, ...expected }] of [
        [wordErrors(truth, found), wer],
        [characterErrors(truth, found), cer],
      ] as const) {
        assert.equal(errors, expected, JSON.stringify({ truth, found }));
        near(errorRate([errors]), rate, truth);
      }
    }
  });

  test('error rates of many texts equal those of jiwer', () => {
    for (const { rows, wer, cer } of reference.errors.corpora as { rows: number[]; wer: number; cer: number }[]) {
      near(errorRate(rows.map(i => wordErrors(pairs[i].truth, pairs[i].found))), wer, 'WER');
      near(errorRate(rows.map(i => characterErrors(pairs[i].truth, pairs[i].found))), cer, 'CER');
    }
  });

  test('ANLS equals that of the package anls', () => {
    const { rows } = reference.anls;
    assert.ok(rows.length > 0);
    for (const row of rows) near(anls(row.truths, row.found), row.anls, JSON.stringify(row));
    for (const row of rows) near(anlsRrc(row.truths, row.found), row.anls_rrc, `RRC: ${JSON.stringify(row)}`);
  });

  test("exact matches equal lmms-eval's", () => {
    for (const { truth, found, exact_lmms_eval } of pairs)
      assert.is(exactMatchPlain(truth, found), Number(exact_lmms_eval), JSON.stringify({ truth, found }));
  });
} else console.log(`Skipped the texts of jiwer and anls: ${path} does not exist.`);

test.run();
