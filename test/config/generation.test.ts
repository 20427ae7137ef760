import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseGenerationConfig } from '../../src/config/generation.ts';
import { referenceJson } from '../reference.ts';
import { literally, refuses } from '../weights/temporary.ts';

type Json = Record<string, unknown>;

test('only the settings in the file are returned', () => {
  assert.equal(parseGenerationConfig({}), {});
  assert.equal(parseGenerationConfig(referenceJson('model/tiny-pad/microsoft/generation_config.json')), {
    ...{ numBeams: 3, earlyStopping: true, noRepeatNgramSize: 3, forcedBosTokenId: 0, forcedEosTokenId: 2 },
    ...{ decoderStartTokenId: 2, bosTokenId: 0, eosTokenIds: [2], padTokenId: 1 },
  });
  const cases: [json: Json, expected: object][] = [
    [
      { forced_bos_token_id: null, forced_eos_token_id: null },
      { forcedBosTokenId: null, forcedEosTokenId: null },
    ],
    [{ eos_token_id: 2 }, { eosTokenIds: [2] }],
    [{ eos_token_id: [2, 50267] }, { eosTokenIds: [2, 50267] }],
    [{ max_new_tokens: 50, max_length: 20 }, { maxNewTokens: 50 }],
    [{ max_length: 20 }, {}],
    [{ max_length: 142 }, { maxNewTokens: 141 }],
    [
      { early_stopping: 'never', length_penalty: -1.5 },
      { earlyStopping: 'never', lengthPenalty: -1.5 },
    ],
    [
      { early_stopping: false, no_repeat_ngram_size: 0 },
      { earlyStopping: false, noRepeatNgramSize: 0 },
    ],
    [
      { do_sample: false, repetition_penalty: 1.0, num_beam_groups: 1, bad_words_ids: null, top_k: 50 },
      { doSample: false, repetitionPenalty: 1, topK: 50 },
    ],
    [
      { do_sample: true, temperature: 0.7, top_k: 20, top_p: 0.9, min_p: 0.05, repetition_penalty: 1.2 },
      { doSample: true, temperature: 0.7, topK: 20, topP: 0.9, minP: 0.05, repetitionPenalty: 1.2 },
    ],
    [{ do_sample: false, temperature: 0, typical_p: 0.9 }, { doSample: false }],
    [{ bad_words_ids: [[5], [6, 7]] }, { badWords: [[5], [6, 7]] }],
    [{ min_new_tokens: 4, min_length: 9 }, { minNewTokens: 4 }],
    [{ min_length: 9 }, { minNewTokens: 8 }],
    [{ min_length: 0 }, {}],
    [{ num_beams: 1024 }, { numBeams: 1024 }],
    [{ num_return_sequences: 2, transformers_version: '5', use_cache: false }, { numReturnSequences: 2 }],
    [{ num_beams: null, max_new_tokens: null }, {}],
  ];
  for (const [json, expected] of cases) assert.equal(parseGenerationConfig(json), expected, JSON.stringify(json));
});

test('unsupported and invalid settings are refused', async () => {
  const cases: [json: Json, problem: string][] = [
    [{ num_beam_groups: 2 }, 'num_beam_groups is 2; only 1 is supported: this package does not implement it.'],
    [{ do_sample: true, typical_p: 0.9 }, 'typical_p is 0.9; only 1'],
    [{ do_sample: true, temperature: 0 }, 'temperature is 0, expected a number above 0.'],
    [{ do_sample: true, top_p: 2 }, 'top_p is 2, expected a number from 0 to 1.'],
    [{ repetition_penalty: 0 }, 'repetition_penalty is 0, expected a number above 0.'],
    [{ bad_words_ids: [5] }, 'bad_words_ids is [5], expected a list of lists of token ids.'],
    [{ bad_words_ids: [[]] }, 'bad_words_ids is [[]], expected'],
    [
      { bad_words_ids: Array.from({ length: 10_001 }, () => [5]) },
      'bad_words_ids has 10001 words, the limit is 10000.',
    ],
    [{ eos_token_id: [...Array(101).keys()] }, 'eos_token_id has 101 tokens, the limit is 100.'],
    [{ num_beams: 1e9 }, 'num_beams is 1000000000, the limit is 1024.'],
    [{ num_return_sequences: 1e9 }, 'num_return_sequences is 1000000000, the limit is 1024.'],
    [{ num_beams: 0 }, 'num_beams is 0, expected a whole number of at least 1.'],
    [{ num_beams: 2.5 }, 'num_beams is 2.5, expected'],
    [{ max_new_tokens: -1 }, 'max_new_tokens is -1, expected'],
    [{ early_stopping: 'always' }, 'early_stopping is "always", expected true, false or "never".'],
    [{ eos_token_id: [2, -3] }, 'eos_token_id is [2,-3], expected a list of whole numbers'],
    [{ eos_token_id: [] }, 'eos_token_id is [], expected'],
    [{ forced_eos_token_id: '2' }, 'forced_eos_token_id is "2", expected'],
    [{ length_penalty: '1' }, 'length_penalty is "1", expected a number.'],
  ];
  for (const [json, problem] of cases) {
    await refuses(problem, () => parseGenerationConfig(json, 'g.json'), 'g.json: ', new RegExp(literally(problem)));
  }
});

test('settings that are not known are one warning', () => {
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  assert.equal(parseGenerationConfig({ num_beams: 2, top_q: 1, '\n': 2, use_cache: true }, 'g.json', warn), {
    numBeams: 2,
  });
  assert.equal(warnings, ['g.json: these settings are not known and are ignored: top_q, "\\n".']);
  const many = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`x${i}`.repeat(40), i]));
  parseGenerationConfig(many, 'g.json', warn);
  assert.match(warnings[1], /…, .* and 7 others\.$/);
  assert.ok(warnings[1].length < 500);
});

test.run();
