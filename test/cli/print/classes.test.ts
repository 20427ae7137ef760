import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { classLines } from '../../../src/cli/print/classes.ts';

const means = (metrics: Record<string, Record<string, number>>) => ({ loss: 1, taskLosses: {}, metrics });

test('a column for each task, the lowest classes first', () => {
  const od = { mAP: 0.5, 'AP/car': 0.75, 'AP/bus': 0.25, 'AP/a\u001bb': 0.5 };
  const ovd = { mAP: 0.5, 'AP/car': 1, 'AP/tram': 0 };
  assert.equal(classLines(means({ '<OD>': od, '<OPEN_VOCABULARY_DETECTION>': ovd, '<CAPTION>': { exactMatch: 1 } })), [
    'AP by class     od  open-vocabulary-detection',
    'tram             –                      0.000',
    'bus          0.250                          –',
    'a\\u001bb     0.500                          –',
    'car          0.750                      1.000',
  ]);
});

test('one class, and none, have no table', () => {
  assert.equal(classLines(means({ '<OD>': { mAP: 0.5, 'AP/car': 0.5 } })), []);
  assert.equal(classLines(means({ '<CAPTION>': { exactMatch: 1 } })), []);
});

test('a table has at most 40 classes, and long names are cut', () => {
  const names = Array.from({ length: 50 }, (_, i) => `${'x'.repeat(60)}${i}`);
  const lines = classLines(means({ '<OD>': Object.fromEntries(names.map((name, i) => [`AP/${name}`, i / 100])) }));
  assert.is(lines.length, 42);
  assert.is(lines[1], `${'x'.repeat(39)}…  0.000`);
  assert.is(lines[41], '… and 10 more in metrics.csv');
});

test.run();
