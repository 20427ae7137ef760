import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type GenerationConfig, parseGenerationConfig } from '../../src/config/generation.ts';
import { parseConfig, type TextConfig } from '../../src/config/model.ts';
import { Florence2Error, UsageError } from '../../src/errors.ts';
import {
  GENERATION_DEFAULTS,
  type GenerationOptions,
  resolveGeneration,
  rowsPerItem,
} from '../../src/generation/options.ts';
import { referenceJson } from '../reference.ts';

const text: TextConfig = parseConfig(referenceJson('model/tiny-pad/hf/config.json')).text; // 1460 tokens, 48 positions

test('without a generation_config.json the defaults of Florence-2 apply, limited to the positions', () => {
  const tokens = { eosTokenIds: [2], padTokenId: 1, decoderStartTokenId: 2 };
  assert.equal(resolveGeneration({}, {}, text), { ...GENERATION_DEFAULTS, ...tokens, maxNewTokens: 48 });
  assert.is(resolveGeneration({}, {}, { ...text, maxPositionEmbeddings: 1024 }).maxNewTokens, 1024);
  assert.is(resolveGeneration({ maxNewTokens: 49 }, {}, text).maxNewTokens, 48);
  assert.is(resolveGeneration({ maxNewTokens: 47 }, {}, text).maxNewTokens, 47);
});

test('options precede the checkpoint, the checkpoint precedes the defaults', () => {
  const json = { num_beams: 5, no_repeat_ngram_size: 0, forced_eos_token_id: null, eos_token_id: 9, length_penalty: 0 };
  const checkpoint = parseGenerationConfig(json);
  const settings = resolveGeneration({ lengthPenalty: -2, forcedBosTokenId: null }, checkpoint, text);
  const expected = { numBeams: 5, noRepeatNgramSize: 0, forcedEosTokenId: null, padTokenId: 1 };
  assert.equal(settings.eosTokenIds, [9]);
  for (const [name, value] of Object.entries({ ...expected, lengthPenalty: -2, forcedBosTokenId: null })) {
    assert.is(settings[name as keyof typeof settings], value, name);
  }
  assert.is(resolveGeneration({ forcedEosTokenId: 2 }, checkpoint, text).forcedEosTokenId, 2);
  assert.is(
    resolveGeneration({ numBeams: undefined }, checkpoint, text).numBeams,
    5,
    'undefined is the same as no option',
  );
});

test('numReturnSequences of the checkpoint is limited to numBeams', () => {
  const settings = resolveGeneration({ numBeams: 2 }, { numReturnSequences: 4, numBeams: 4 }, text);
  assert.is(settings.numReturnSequences, 2);
});

test('samples are counted by numReturnSequences', () => {
  const settings = resolveGeneration({ numBeams: 1, doSample: true, numReturnSequences: 4 }, {}, text);
  assert.is(settings.numReturnSequences, 4);
  assert.is(rowsPerItem(settings), 4);
  assert.is(rowsPerItem({ ...settings, numReturnSequences: 1 }), 1);
  assert.is(rowsPerItem({ ...settings, numBeams: 3, numReturnSequences: 2 }), 3);
});

test('bad words are split as at the beginning of a text and after a space', () => {
  const encode = (words: string) => [words.length];
  const { badWords } = resolveGeneration({ badWords: ['cat', [7, 8]] }, {}, text, { encode });
  assert.equal(badWords, [[3], [4], [7, 8]]);
});

test('the error for a wrong option has its name and the allowed values', () => {
  const cases: [options: object, message: RegExp][] = [
    [{ numBeams: 0 }, /numBeams must be a whole number from 1 to 1024, not 0/],
    [{ numBeams: 2.5 }, /numBeams/],
    [{ numBeams: '3' }, /numBeams .* not "3"/],
    [{ numBeams: Number.NaN }, /numBeams .* not NaN/],
    [{ maxNewTokens: 0 }, /maxNewTokens/],
    [{ maxNewTokens: Number.POSITIVE_INFINITY }, /maxNewTokens .* not Infinity/],
    [{ earlyStopping: 'always' }, /earlyStopping must be true, false or never, not "always"/],
    [{ lengthPenalty: Number.NaN }, /lengthPenalty must be a finite number/],
    [{ lengthPenalty: Number.NEGATIVE_INFINITY }, /lengthPenalty/],
    [{ noRepeatNgramSize: -1 }, /noRepeatNgramSize/],
    [{ forcedBosTokenId: 1460 }, /forcedBosTokenId must be a token id of the vocabulary, or null, not 1460/],
    [{ forcedEosTokenId: -1 }, /forcedEosTokenId/],
    [{ forcedEosTokenId: false }, /forcedEosTokenId/],
    [{ useCache: 1 }, /useCache must be true or false/],
    [{ numReturnSequences: 0 }, /numReturnSequences/],
    [{ numReturnSequences: 4 }, /numReturnSequences is 4, .* numBeams \(3\)\. Raise numBeams/],
    [{ numBeams: null }, /numBeams .* not null/],
    [{ numBeams: 1e9 }, /numBeams must be a whole number from 1 to 1024, not 1000000000/],
    [{ doSample: true, numReturnSequences: 1025, numBeams: 1 }, /numReturnSequences .* 1024/],
    [{ doSample: true, numReturnSequences: 4 }, /Raise numBeams, or set doSample with numBeams 1/],
    [{ temperature: 0 }, /temperature must be a number above 0, not 0/],
    [{ topP: 1.5 }, /topP must be a number from 0 to 1/],
    [{ topK: -1 }, /topK must be a whole number, 0 for no limit/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty must be a number above 0/],
    [{ eosTokenIds: [] }, /eosTokenIds must be a list of token ids of the vocabulary/],
    [{ eosTokenIds: [2, 1460] }, /eosTokenIds/],
    [{ badWords: [[]] }, /badWords must be a list of texts or lists of token ids/],
    [{ badWords: [' '] }, /badWords/],
    [{ badWords: [[3, 1460]] }, /badWords/],
    [{ badWords: ['cat'] }, /badWords are given as token ids here/],
  ];
  for (const [options, message] of cases) {
    const error = caught(() => resolveGeneration(options as GenerationOptions, {}, text));
    assert.instance(error, UsageError, String(error));
    assert.match(error.message, message);
    assert.not.match(error.message, /\n/);
  }
});

test('the error for a wrong value of the checkpoint names generation_config.json', () => {
  const checkpoints: GenerationConfig[] = [
    { forcedBosTokenId: 1460 },
    { eosTokenIds: [2, 70000] },
    { padTokenId: 1460 },
  ];
  for (const checkpoint of checkpoints) {
    const error = caught(() => resolveGeneration({}, checkpoint, text));
    assert.instance(error, Florence2Error);
    assert.not.instance(error, UsageError);
    assert.match(error.message, new RegExp(`^generation_config.json: ${Object.keys(checkpoint)[0]} must be`));
  }
});

function caught(body: () => unknown): Error {
  try {
    body();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}

test.run();
