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
    ...{ decoderStartTokenId: 2, bosTokenId: 0, eosTokenId: 2, padTokenId: 1 },
  });
  const cases: [json: Json, expected: object][] = [
    [
      { forced_bos_token_id: null, forced_eos_token_id: null },
      { forcedBosTokenId: null, forcedEosTokenId: null },
    ],
    [{ eos_token_id: [2] }, { eosTokenId: 2 }],
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
    [{ do_sample: false, repetition_penalty: 1.0, num_beam_groups: 1, bad_words_ids: null, top_k: 50 }, {}],
    [{ num_return_sequences: 2, transformers_version: '5', unknown: 1 }, { numReturnSequences: 2 }],
    [{ num_beams: null, max_new_tokens: null }, {}],
  ];
  for (const [json, expected] of cases) assert.equal(parseGenerationConfig(json), expected, JSON.stringify(json));
});

test('unsupported and invalid settings are refused', async () => {
  const cases: [json: Json, problem: string][] = [
    [{ do_sample: true }, 'do_sample is true; only false is supported: greedy and beam search do not implement it.'],
    [{ repetition_penalty: 1.2 }, 'repetition_penalty is 1.2; only 1'],
    [{ num_beam_groups: 2 }, 'num_beam_groups is 2; only 1'],
    [{ bad_words_ids: [[5]] }, 'bad_words_ids is [[5]]; only []'],
    [{ num_beams: 0 }, 'num_beams is 0, expected a whole number of at least 1.'],
    [{ num_beams: 2.5 }, 'num_beams is 2.5, expected'],
    [{ max_new_tokens: -1 }, 'max_new_tokens is -1, expected'],
    [{ early_stopping: 'always' }, 'early_stopping is "always", expected true, false or "never".'],
    [{ eos_token_id: [2, 3] }, 'eos_token_id is [2,3], expected a whole number'],
    [{ forced_eos_token_id: '2' }, 'forced_eos_token_id is "2", expected'],
    [{ length_penalty: '1' }, 'length_penalty is "1", expected a number.'],
  ];
  for (const [json, problem] of cases) {
    await refuses(problem, () => parseGenerationConfig(json, 'g.json'), 'g.json: ', new RegExp(literally(problem)));
  }
});

test.run();
