import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadTokenizer, saveTokenizer } from '../../src/checkpoint/tokenizer_files.ts';
import { Florence2Error } from '../../src/errors.ts';
import { openFolder } from '../../src/platform/node.ts';
import { reference } from '../reference.ts';

const files = suite<{ folder: string }>('tokenizer files');
files.before.each(context => {
  context.folder = mkdtempSync(join(tmpdir(), 'florence2-tokenizer-'));
});
files.after.each(context => rmSync(context.folder, { recursive: true }));

files('loads the reference tokenizer', async () => {
  const tokenizer = await loadTokenizer(openFolder(reference('tokenizer')));
  assert.equal(tokenizer.encode('A photo of a cat.'), [0, 250, 1345, 9, 10, 4758, 4, 2]);
});

const vocab = { '<s>': 0, '<pad>': 1, '</s>': 2, a: 3, b: 4, ab: 5 };
const tokenizerJson = {
  added_tokens: [{ id: 0, content: '<s>' }],
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
  model: { type: 'BPE', vocab, merges: ['a b'] },
};

files('loads a minimal tokenizer', async ({ folder }) => {
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizerJson));
  const tokenizer = await loadTokenizer(openFolder(folder));
  assert.equal(tokenizer.encode('abba<loc_7>'), [0, 5, 4, 3, 6 + 4 + 7, 2]);
  assert.is(tokenizer.decode([0, 5, 4, 3, 17, 2]), '<s>abba<loc_7></s>');
});

files('errors are one line that names the file', async ({ folder }) => {
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
    ['tokenizer.json', json({ normalizer: { type: 'Odd' } }), /cannot be created: /],
    ['vocab.json', JSON.stringify(vocab), /has neither tokenizer\.json nor vocab\.json and merges\.txt/],
    ['merges.txt', 'a b', /\(vocab\.json is missing\)\./],
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
  const error = await loadTokenizer(openFolder(folder)).then(
    () => undefined,
    (e: unknown) => e,
  );
  assert.instance(error, Florence2Error, `${what} must be refused`);
  assert.match((error as Error).message, message, what);
  assert.not.match((error as Error).message, /\n/, what);
  assert.ok((error as Error).message.includes(folder), `${what}: the message must name the folder`);
}

// Ids from tokenizers 0.23.3 in Python, Tokenizer.from_file(…).encode(text).ids, for the written files with '<weld>'
// and 'crack' added. AutoTokenizer of transformers 5.23 returns the same.
const withNewTokens: [text: string, ids: number[]][] = [
  ['a <weld> and crackling', [0, 102, 1437, 51289, 8, 1437, 51290, 1527, 2]],
  ['A photo of a cat.<loc_5><loc_999>', [0, 250, 1345, 9, 10, 4758, 4, 50274, 51268, 2]],
  ['wel<weld>ding  crack\n', [0, 605, 523, 51289, 11303, 1437, 1437, 51290, 50118, 2]],
  ['café 日本 <and><weld>x', [0, 438, 2001, 1140, 47416, 6800, 8210, 44636, 11582, 1437, 51288, 51289, 1178, 2]],
];
const full = JSON.parse(readFileSync(reference('tokenizer/tokenizer.json'), 'utf8'));
const fullConfig = JSON.parse(readFileSync(reference('tokenizer/tokenizer_config.json'), 'utf8'));
const bartsOwn = { ...full, added_tokens: full.added_tokens.filter(({ id }: { id: number }) => id < 50265) };
const merges = full.model.merges.map((merge: string | string[]) => [merge].flat().join(' '));
const kinds: [what: string, content: Record<string, string>][] = [
  [
    'tokenizer.json with all tokens, also listed in tokenizer_config.json',
    { 'tokenizer.json': JSON.stringify(full), 'tokenizer_config.json': JSON.stringify(fullConfig) },
  ],
  ["tokenizer.json without Florence-2's tokens", { 'tokenizer.json': JSON.stringify(bartsOwn) }],
  [
    'vocab.json and merges.txt',
    { 'vocab.json': JSON.stringify(full.model.vocab), 'merges.txt': `#version: 0.2\n${merges.join('\n')}\n` },
  ],
];
for (const [what, content] of kinds) {
  files(`saved with new tokens: ${what}`, async ({ folder }) => {
    const [from, to] = [join(folder, 'from'), join(folder, 'to')];
    for (const path of [from, to]) mkdirSync(path);
    for (const [name, text] of Object.entries(content)) writeFileSync(join(from, name), text);
    const tokenizer = await loadTokenizer(openFolder(from));
    assert.is(tokenizer.size, 51289);
    tokenizer.addTokens(['<weld>', 'crack'], tokenizer.size);
    await saveTokenizer(tokenizer, openFolder(from), openFolder(to));
    const saved = await loadTokenizer(openFolder(to));
    for (const [text, ids] of withNewTokens) {
      assert.equal(tokenizer.encode(text), ids, text);
      assert.equal(saved.encode(text), ids, `${text}, saved`);
      assert.is(
        saved.decode(ids, { skipSpecialTokens: true }),
        text.replace(/<loc_\d+>|<and>/g, ''),
        `${text}, decoded`,
      );
    }
    const written = JSON.parse(readFileSync(join(to, 'tokenizer.json'), 'utf8'));
    assert.equal(written.post_processor, full.post_processor);
    const ids = written.added_tokens.map(({ id }: { id: number }) => id);
    assert.equal(
      ids.slice(-1027),
      Array.from({ length: 1027 }, (_, i) => 50264 + i),
      'Python takes added tokens in the order of their ids',
    );
    const config = join(to, 'tokenizer_config.json');
    if (!existsSync(config)) return;
    const listed = JSON.parse(readFileSync(config, 'utf8')).added_tokens_decoder;
    assert.is(listed[51290].content, 'crack');
    assert.is(Object.keys(listed).length, Object.keys(fullConfig.added_tokens_decoder).length + 2);
  });
}

files('without new tokens, files are saved byte for byte', async ({ folder }) => {
  const tokenizer = await loadTokenizer(openFolder(reference('tokenizer')));
  await saveTokenizer(tokenizer, openFolder(reference('tokenizer')), openFolder(folder));
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    assert.ok(readFileSync(join(folder, name)).equals(readFileSync(reference(`tokenizer/${name}`))), name);
  }
});

files('a regular expression that never ends is stopped', async ({ folder }) => {
  const pattern = { Regex: '(?:(?:a|a)+)+c' };
  const split = { type: 'Split', pattern, behavior: 'Isolated', invert: false };
  const pre_tokenizer = { type: 'Sequence', pretokenizers: [split, { type: 'ByteLevel', use_regex: false }] };
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify({ ...tokenizerJson, pre_tokenizer }));
  const tokenizer = await loadTokenizer(openFolder(folder));
  assert.equal(tokenizer.encode('ab').length, 3);
  const start = performance.now();
  assert.throws(
    () => tokenizer.encode('a'.repeat(200)),
    (error: Error) =>
      error.message === `A text takes more than 2 s to encode: check the regular expressions of ${folder}.`,
  );
  assert.ok(performance.now() - start < 5000);
});

files.run();
