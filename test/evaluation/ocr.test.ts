import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OcrMetric, type TextLine, type TextRates } from '../../src/evaluation/ocr.ts';
import { hasReference, referenceJson } from '../reference.ts';

const path = 'evaluation/ocr.json';
const near = (found: TextRates, expected: TextRates, what: string) => {
  for (const key of ['precision', 'recall', 'hmean'] as const) {
    assert.ok(Math.abs(found[key] - expected[key]) <= 1e-12, `${what}, ${key}: ${found[key]}, not ${expected[key]}`);
  }
};

interface Rates {
  detection: TextRates;
  end_to_end: TextRates;
  end_to_end_exact: TextRates;
}
interface Image extends Rates {
  truth: TextLine[];
  found: TextLine[];
  truths_counted: number;
}

if (hasReference(path)) {
  const { sets } = referenceJson(path) as { sets: (Rates & { images: Image[] })[] };

  test('rates of sets and of their images equal the reference', () => {
    assert.ok(sets.length > 0);
    const compare = (metric: OcrMetric, expected: Rates, what: string) => {
      const { detection, endToEnd, exact } = metric.rates();
      near(detection, expected.detection, `${what}: detection`);
      near(endToEnd, expected.end_to_end, `${what}: end to end`);
      near(exact, expected.end_to_end_exact, `${what}: equal texts`);
    };
    for (const [s, { images, ...expected }] of sets.entries()) {
      const all = new OcrMetric();
      for (const [i, image] of images.entries()) {
        all.add(image.truth, image.found);
        if (image.truths_counted === 0) continue; // the protocol's values of single images without text are other ones
        const one = new OcrMetric();
        one.add(image.truth, image.found);
        compare(one, image, `set ${s}, image ${i}`);
      }
      compare(all, expected, `set ${s}`);
    }
  });
} else console.log(`Skipped the lines of ICDAR: ${path} does not exist.`);

test('by hand: a mark may be missing, unreadable lines and what is in them do not count', () => {
  const line = (text: string, x: number): TextLine => ({ text, quad: [x, 0, x + 10, 0, x + 10, 5, x, 5] });
  const metric = new OcrMetric();
  metric.add(
    [line('STOP!', 0), line('"here"', 20), line('###', 40)],
    [line('stop', 0), line('her', 20), line('x', 41)],
  );
  const { detection, endToEnd, exact } = metric.rates();
  near(detection, { precision: 1, recall: 1, hmean: 1 }, 'both boxes');
  near(endToEnd, { precision: 0.5, recall: 0.5, hmean: 0.5 }, 'STOP alone');
  near(exact, { precision: 0, recall: 0, hmean: 0 }, 'no text is equal');
});

test.run();
