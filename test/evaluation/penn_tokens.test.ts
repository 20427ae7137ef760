import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pennTokens } from '../../src/evaluation/penn_tokens.ts';
import { hasReference, referenceJson } from '../reference.ts';

const path = 'evaluation/tokens.json';

if (hasReference(path)) {
  const { texts } = referenceJson(path) as { texts: { text: string; tokens: string[] }[] };
  test(`tokens of ${texts.length} texts equal those of pycocoevalcap`, () => {
    assert.ok(texts.length > 0);
    const wrong = texts.filter(({ text, tokens }) => pennTokens(text).join(' ') !== tokens.join(' '));
    assert.equal(
      wrong.map(({ text, tokens }) => ({ text, found: pennTokens(text).join(' '), expected: tokens.join(' ') })),
      [],
    );
  });
} else console.log(`Skipped the tokens of pycocoevalcap: ${path} does not exist.`);

test.run();
