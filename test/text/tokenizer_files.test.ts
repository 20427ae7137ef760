import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import { loadTokenizer } from '../../src/text/tokenizer_files.ts';
import { reference } from '../reference.ts';

const files = suite<{ folder: string }>('tokenizer files');
files.before.each(context => {
  context.folder = mkdtempSync(join(tmpdir(), 'florence2-tokenizer-'));
});
files.after.each(context => rmSync(context.folder, { recursive: true }));

files('a folder of the reference loads', async () => {
  const tokenizer = await loadTokenizer(reference('tokenizer'));
  assert.equal(tokenizer.encode('A photo of a cat.'), [0, 250, 1345, 9, 10, 4758, 4, 2]);
});

const vocab = { '<s>': 0, '<pad>': 1, '</s>': 2, a: 3, b: 4, ab: 5 };
const tokenizerJson = {
  added_tokens: [{ id: 0, content: '<s>' }],
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
  model: { type: 'BPE', vocab, merges: ['a b'] },
};

files('a small tokenizer is enough', async ({ folder }) => {
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizerJson));
  const tokenizer = await loadTokenizer(folder);
  assert.equal(tokenizer.encode('abba<loc_7>'), [0, 5, 4, 3, 6 + 4 + 7, 2]);
  assert.is(tokenizer.decode([0, 5, 4, 3, 17, 2]), '<s>abba<loc_7></s>');
});

files('what is wrong with a file is said in one line that names it', async ({ folder }) => {
  const { model, ...rest } = tokenizerJson;
  const json = (change: object) => JSON.stringify({ ...tokenizerJson, ...change });
  const ofModel = (change: object) => json({ model: { ...model, ...change } });
  const cases: [file: string, content: string, message: RegExp][] = [
    ['tokenizer.json', '', /tokenizer\.json is not valid JSON/],
    ['tokenizer.json', '{"model": {', /tokenizer\.json is not valid JSON/],
    ['tokenizer.json', '{\n\n]', /tokenizer\.json is not valid JSON/],
    ['tokenizer.json', '[1]', /tokenizer\.json does not hold a JSON object\.$/],
    ['tokenizer.json', 'null', /tokenizer\.json does not hold a JSON object\.$/],
    ['tokenizer.json', 'version https://git-lfs.github.com/spec/v1', /tokenizer\.json is not valid JSON/],
    ['tokenizer.json', JSON.stringify(rest), /tokenizer\.json has no model\.$/],
    ['tokenizer.json', ofModel({ type: 'WordPiece' }), /has a model of type "WordPiece"; .* byte-level BPE/],
    ['tokenizer.json', json({ pre_tokenizer: null }), /has no ByteLevel pre-tokenizer/],
    ['tokenizer.json', json({ pre_tokenizer: { type: 'Whitespace' } }), /has no ByteLevel pre-tokenizer/],
    ['tokenizer.json', ofModel({ vocab: undefined }), /has no vocabulary\.$/],
    ['tokenizer.json', ofModel({ vocab: { ...vocab, b: '4' } }), /token "b" has id "4", not a whole number\.$/],
    ['tokenizer.json', ofModel({ vocab: { ...vocab, b: 3 } }), /tokens "a" and "b" both have id 3\.$/],
    ['tokenizer.json', ofModel({ vocab: { '<s>': 0, '<pad>': 1, a: 3 } }), /has no <\/s> token/],
    ['tokenizer.json', ofModel({ merges: undefined }), /has no merges\.$/],
    ['tokenizer.json', ofModel({ merges: ['ab'] }), /merge 0 is "ab", not a pair of tokens\.$/],
    ['tokenizer.json', ofModel({ merges: [['a', 'b'], 'a b'] }), /merge 1 is "a b", not a pair of tokens\.$/],
    ['tokenizer.json', json({ added_tokens: {} }), /added_tokens is not a list\.$/],
    ['tokenizer.json', json({ added_tokens: [{ content: '<s>' }] }), /added_tokens\[0\] is not a token with an id/],
    ['tokenizer.json', json({ normalizer: { type: 'Odd' } }), /cannot be built: /],
    ['vocab.json', JSON.stringify(vocab), /has neither tokenizer\.json nor vocab\.json and merges\.txt/],
    ['merges.txt', 'a b', /\(vocab\.json is missing\)\.$/],
  ];
  for (const [file, content, message] of cases) {
    writeFileSync(join(folder, file), content);
    await refused(folder, message, `${file}: ${content.slice(0, 80)}`);
    rmSync(join(folder, file));
  }
  await refused(folder, /has neither tokenizer\.json nor vocab\.json and merges\.txt/, 'an empty folder');
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizerJson));
  const configs: [content: string, message: RegExp][] = [
    ['{', /tokenizer_config\.json is not valid JSON/],
    [JSON.stringify({ eos_token: { content: '<end>' } }), /has no <end> token/],
    [JSON.stringify({ added_tokens_decoder: { 9: 'x' } }), /added_tokens_decoder\[9\] is not a token/],
    [JSON.stringify({ added_tokens_decoder: { x: { content: '<x>' } } }), /added_tokens_decoder\[x\] is not a token/],
  ];
  for (const [content, message] of configs) {
    writeFileSync(join(folder, 'tokenizer_config.json'), content);
    await refused(folder, message, content);
  }
});

async function refused(folder: string, message: RegExp, what: string): Promise<void> {
  const error = await loadTokenizer(folder).then(
    () => undefined,
    (e: unknown) => e,
  );
  assert.instance(error, Florence2Error, `${what} must be refused`);
  assert.match((error as Error).message, message, what);
  assert.not.match((error as Error).message, /\n/, what);
  assert.ok((error as Error).message.includes(folder), `${what}: the message must name the folder`);
}

files.run();
