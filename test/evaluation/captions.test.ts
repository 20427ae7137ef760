import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bleu } from '../../src/evaluation/bleu.ts';
import { ciderD } from '../../src/evaluation/cider.ts';
import { pennTokens } from '../../src/evaluation/penn_tokens.ts';
import { rougeL } from '../../src/evaluation/rouge.ts';
import { hasReference, referenceJson } from '../reference.ts';

const path = 'evaluation/captions.json';

interface Scores {
  bleu: number[];
  rouge_l: number;
  cider_d: number;
}
interface Corpus extends Scores {
  name: string;
  images: (Scores & { candidate: string; references: string[] })[];
}

const near = (found: number, expected: number, what: string) =>
  assert.ok(Math.abs(found - expected) <= 1e-9, `${what}: ${found}, pycocoevalcap ${expected}`);

const tokenize = ({ candidate, references }: { candidate: string; references: string[] }) => ({
  candidate: pennTokens(candidate),
  references: references.map(pennTokens),
});

if (hasReference(path)) {
  const { corpora } = referenceJson(path) as { corpora: Corpus[] };
  test('there are corpora', () => assert.ok(corpora.length > 0));
  for (const { name, images, ...expected } of corpora) {
    test(`${name}: equal to pycocoevalcap`, () => {
      const captions = images.map(tokenize);
      const near4 = (found: number[], values: number[], what: string) => {
        assert.is(found.length, 4);
        for (const [i, value] of values.entries()) near(found[i], value, `BLEU-${i + 1} ${what}`);
      };
      near4(bleu(captions), expected.bleu, 'of all');
      near(rougeL(captions), expected.rouge_l, 'ROUGE-L of all');
      const cider = ciderD(captions);
      near(cider.mean, expected.cider_d, 'CIDEr-D of all');
      for (const [i, image] of images.entries()) {
        near4(bleu([captions[i]]), image.bleu, `of image ${i}`);
        near(rougeL([captions[i]]), image.rouge_l, `ROUGE-L of image ${i}`);
        near(cider.values[i], image.cider_d, `CIDEr-D of image ${i}`);
      }
    });
  }
} else console.log(`Skipped the scores of pycocoevalcap: ${path} does not exist.`);

test('CIDEr-D of two images, by hand', () => {
  // Both captions have all their n-grams in one of two images: each weighs ln 2, and each order has a cosine of 1.
  const captions = ['a b c d', 'e f g h'].map(text => ({ candidate: text.split(' '), references: [text.split(' ')] }));
  near(ciderD(captions).mean, 10, 'equal captions');
});

test.run();
