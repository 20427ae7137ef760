import { Command } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AnswerFlags, addAnswerOptions, answerOptions } from '../../src/cli/answer_options.ts';
import { addImageOptions, type ImageFlags, imageOptions } from '../../src/cli/options.ts';

const parse = (...args: string[]) =>
  addImageOptions(addAnswerOptions(new Command())).parse(args, { from: 'user' }).opts<AnswerFlags & ImageFlags>();

/** The options that are set. */
const given = (...args: string[]) => JSON.parse(JSON.stringify(answerOptions(parse(...args))));

test('each flag sets its option', () => {
  assert.equal(given(), {});
  const cases: [flags: string, options: object][] = [
    ['--beams 2 --max-new-tokens 9 --min-new-tokens 3', { numBeams: 2, maxNewTokens: 9, minNewTokens: 3 }],
    ['--length-penalty -0.5 --no-repeat-ngram-size 0', { lengthPenalty: -0.5, noRepeatNgramSize: 0 }],
    ['--early-stopping false', { earlyStopping: false }],
    ['--early-stopping true', { earlyStopping: true }],
    ['--early-stopping never', { earlyStopping: 'never' }],
    ['--repetition-penalty 1.2 --eos-token-ids 2,50267', { repetitionPenalty: 1.2, eosTokenIds: [2, 50267] }],
    ['--bad-words cat,dog', { badWords: ['cat', 'dog'] }],
    ['--do-sample', { doSample: true }],
    ['--constrain --keep-unicode', { constrain: true, keepUnicode: true }],
    ['--keep-malformed', { keepMalformed: true }],
  ];
  for (const [flags, options] of cases) assert.equal(given(...flags.split(' ')), options, flags);
  const { orientation, maxPixels } = imageOptions(parse('--max-pixels', '500', '--orientation', 'apply'));
  assert.equal([orientation, maxPixels], ['apply', 500]);
});

test('flags about sampling turn it on', () => {
  const cases: [flag: string, value: string, option: object][] = [
    ['--seed', '4', { seed: 4 }],
    ['--temperature', '0.7', { temperature: 0.7 }],
    ['--top-k', '20', { topK: 20 }],
    ['--top-p', '0.9', { topP: 0.9 }],
    ['--min-p', '0.05', { minP: 0.05 }],
  ];
  for (const [flag, value, option] of cases) assert.equal(given(flag, value), { doSample: true, ...option });
});

test.run();
