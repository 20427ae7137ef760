import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { FLORENCE2_TOKENS } from '../../src/text/tokenizer_json.ts';
import { hasReference, reference, referenceJson } from '../reference.ts';

const read = (file: string) => readFileSync(reference(`tokenizer/${file}`), 'utf8');
const cases = referenceJson('tokenizer/cases.json');
const tokenizerJson = read('tokenizer.json');
const tokenizerConfig = read('tokenizer_config.json');
const tokenizer = Tokenizer.fromFiles({ tokenizerJson, tokenizerConfig });

/** Every column of cases.json, for a tokenizer that must be the same whichever files it came from. */
function checkAllCases(t: Tokenizer): void {
  for (const { text, ids, ids_plain, tokens, decoded, decoded_skip_special } of cases.encode) {
    const where = JSON.stringify(text);
    assert.equal(t.encode(text), ids, where);
    assert.equal(t.encode(text, { addSpecialTokens: false }), ids_plain, where);
    assert.equal(t.tokens(ids_plain), tokens, where);
    assert.is(t.decode(ids), decoded, where);
    assert.is(t.decode(ids, { skipSpecialTokens: true }), decoded_skip_special, where);
  }
  for (const c of cases.decode) {
    const where = JSON.stringify(c.ids);
    const cleanUpTokenizationSpaces = true;
    assert.is(t.decode(c.ids), c.text, where);
    assert.is(t.decode(c.ids, { skipSpecialTokens: true }), c.text_skip_special, where);
    assert.is(t.decode(c.ids, { cleanUpTokenizationSpaces }), c.text_cleaned, where);
    assert.is(
      t.decode(c.ids, { skipSpecialTokens: true, cleanUpTokenizationSpaces }),
      c.text_skip_special_cleaned,
      where,
    );
    if (c.ids.includes(60000)) continue; // outside the vocabulary: the reference lists no tokens
    assert.equal(t.tokens(c.ids), c.tokens, where);
    assert.equal(t.tokenTexts(c.ids), c.token_texts, where);
  }
}

test('ids and texts equal those of the Python library', () => {
  assert.ok(cases.encode.length >= 210 && cases.decode.length >= 47);
  checkAllCases(tokenizer);
});

test('batches are padded on the right and keep <s> and </s> when cut', () => {
  for (const { texts, options, input_ids, attention_mask } of cases.batch) {
    const encoded = tokenizer.encodeBatch(texts, {
      padding: options.padding === 'max_length' ? 'maxLength' : (options.padding ?? false),
      maxLength: options.max_length,
      addSpecialTokens: options.add_special_tokens,
      padToMultipleOf: options.pad_to_multiple_of,
    });
    assert.equal(encoded.inputIds, input_ids);
    assert.equal(encoded.attentionMask, attention_mask);
    assert.equal(
      encoded.lengths,
      attention_mask.map((row: number[]) => row.reduce((a, b) => a + b, 0)),
    );
  }
});

test('prompts have the ids of the reference', () => {
  const { cases: prompts, batches, image_seq_length } = referenceJson('processor/prompts.json');
  for (const { text, prompt, input_ids, prompt_hf, input_ids_hf, error } of prompts) {
    if (error) continue;
    assert.equal(tokenizer.encode(prompt), input_ids, text);
    if (prompt_hf !== undefined) assert.equal(tokenizer.encode(prompt_hf), input_ids_hf, text);
  }
  const promptOf = new Map(prompts.map((c: { text: string; prompt: string }) => [c.text, c.prompt]));
  promptOf.set('<REGION_TO_CATEGORY><loc_1><loc_2><loc_3><loc_4>', 'What is the region <loc_1><loc_2><loc_3><loc_4>?');
  promptOf.set(
    '<CAPTION_TO_PHRASE_GROUNDING>A long caption about a person on a bicycle near the sea.',
    'Locate the phrases in the caption: A long caption about a person on a bicycle near the sea.',
  );
  for (const { texts, options, input_ids, attention_mask } of batches) {
    const encoded = tokenizer.encodeBatch(
      texts.map((text: string) => promptOf.get(text)!),
      {
        padding: options.padding === 'max_length' ? 'maxLength' : (options.padding ?? false),
        maxLength: options.max_length && options.max_length - image_seq_length,
      },
    );
    assert.equal(encoded.inputIds, input_ids);
    assert.equal(encoded.attentionMask, attention_mask);
  }
});

test('missing task and location tokens are added, in the order of the reference', () => {
  const full = JSON.parse(tokenizerJson);
  assert.equal(
    FLORENCE2_TOKENS,
    full.added_tokens.slice(5).map((token: { content: string }) => token.content),
  );
  const bare = JSON.stringify({ ...full, added_tokens: full.added_tokens.slice(0, 5) });
  const { added_tokens_decoder: _, additional_special_tokens: __, ...config } = JSON.parse(tokenizerConfig);
  checkAllCases(Tokenizer.fromFiles({ tokenizerJson: bare, tokenizerConfig: JSON.stringify(config) }));
  checkAllCases(Tokenizer.fromFiles({ tokenizerJson: bare }));
});

test('tokens that a fine-tune added keep their ids', () => {
  const full = JSON.parse(tokenizerJson);
  const own = { id: 50265, content: '<vqa>', special: true };
  const added_tokens = [...full.added_tokens.slice(0, 5), own];
  const t = Tokenizer.fromFiles({ tokenizerJson: JSON.stringify({ ...full, added_tokens }) });
  assert.is(t.tokenToId('<vqa>'), 50265);
  assert.is(t.tokenToId('<od>'), 50266);
  assert.is(t.tokenToId('<and>'), 51289);
  assert.equal(t.encode('<vqa>a'), [0, 50265, 102, 2]);
  const listed = { added_tokens_decoder: { 51289: { content: '<image>', special: true } } };
  const fromConfig = Tokenizer.fromFiles({ tokenizerJson, tokenizerConfig: JSON.stringify(listed) });
  assert.is(fromConfig.tokenToId('<image>'), 51289);
});

test('merges written as pairs, and a model with a type', () => {
  const full = JSON.parse(tokenizerJson);
  const merges = full.model.merges.map((merge: string) => merge.split(' '));
  const paired = JSON.stringify({ ...full, model: { ...full.model, type: 'BPE', merges } });
  checkAllCases(Tokenizer.fromFiles({ tokenizerJson: paired }));
});

if (hasReference('tokenizer/vocab.json')) {
  test('vocab.json and merges.txt replace a missing tokenizer.json', () => {
    const files = { vocabJson: read('vocab.json'), mergesTxt: read('merges.txt') };
    checkAllCases(Tokenizer.fromFiles({ ...files, tokenizerConfig }));
    checkAllCases(Tokenizer.fromFiles(files));
  });
}

test('spans cover the text; those of parts of a character cover the character', () => {
  const texts = ['a café table<loc_1><loc_2>日本', '😀<sep> x', ''];
  for (const text of texts) {
    const ids = tokenizer.encode(text);
    const decoded = tokenizer.decodeWithSpans(ids);
    assert.is(decoded.text, `<s>${text}</s>`);
    assert.is(decoded.spans.length, ids.length);
    let end = 0;
    for (const [i, [start, stop]] of decoded.spans.entries()) {
      assert.ok(start <= end && stop > start, `${text}: token ${i} spans ${start} to ${stop} after ${end}`);
      end = Math.max(end, stop);
      const added = tokenizer.idToToken(ids[i])!;
      if (added.startsWith('<')) assert.is(decoded.text.slice(start, stop), added);
    }
    assert.is(end, decoded.text.length);
  }
  const cut = tokenizer.encode('日', { addSpecialTokens: false }).slice(0, 1);
  assert.equal(tokenizer.decodeWithSpans([...cut, 50269]), {
    text: '\ufffd<loc_0>',
    spans: [
      [0, 1],
      [1, 8],
    ],
  });
});

test('a stream returns the same text as decode', () => {
  for (const { ids, text } of cases.decode) {
    const stream = tokenizer.stream();
    assert.is(ids.map((id: number) => stream.push(id)).join('') + stream.end(), text, String(ids));
  }
});

test('impossible limits are errors', () => {
  assert.throws(
    () => tokenizer.encode('a', { maxLength: 1 }),
    (e: unknown) => e instanceof UsageError && /expected at least 2, for <s> and <\/s>/.test(e.message),
  );
  assert.throws(() => tokenizer.encodeBatch(['a'], { padding: 'maxLength' }), /needs a maxLength/);
});

/** A tokenizer.json with this many tokens t0, t1, …, and other fields. */
const withTokens = (count: number, fields: object = {}): string => {
  const words = ['<s>', '<pad>', '</s>', 'a', ...Array.from({ length: count }, (_, i) => `t${i}`)];
  const vocab = Object.fromEntries(words.map((word, id) => [word, id]));
  const pre_tokenizer = { type: 'ByteLevel', add_prefix_space: false };
  return JSON.stringify({ pre_tokenizer, model: { type: 'BPE', vocab, merges: [] }, ...fields });
};

test('a vocabulary of 200,000 tokens, and as many added ones', () => {
  const few = Tokenizer.fromFiles({ tokenizerJson: withTokens(200_000) });
  assert.is(few.size, 200_004 + FLORENCE2_TOKENS.length);
  const added_tokens = Array.from({ length: 200_000 }, (_, i) => ({ id: 10 + i, content: `added${i}` }));
  const many = Tokenizer.fromFiles({ tokenizerJson: withTokens(1, { added_tokens }) });
  assert.is(many.size, 200_010 + FLORENCE2_TOKENS.length);
});

test('regular expressions of the files run in the guard', () => {
  const pre_tokenizer = {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: 'a+' }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
    ],
  };
  let guarded = 0;
  const guard = <T>(encode: () => T): T => {
    guarded++;
    return encode();
  };
  const own = Tokenizer.fromFiles({ tokenizerJson: withTokens(1, { pre_tokenizer }), guard });
  assert.equal(own.encode('aa'), [0, 3, 3, 2]);
  assert.is(guarded, 1);
  const plain = Tokenizer.fromFiles({ tokenizerJson: withTokens(1), guard });
  assert.equal(plain.encode('aa'), [0, 3, 3, 2]);
  assert.is(guarded, 1, 'the expression of GPT-2 needs no time limit');
});

test.run();
