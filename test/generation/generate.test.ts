import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import { beamSearch } from '../../src/generation/beam.ts';
import type { GeneratedSequence } from '../../src/generation/decoding.ts';
import { generateSequences, tokenSteps } from '../../src/generation/generate.ts';
import type { GenerationSettings } from '../../src/generation/options.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { everyAnswer, type PlainAnswer, plainBeams, plainGreedy } from './plain_search.ts';
import { cases, settingsOf } from './processor_cases.ts';
import { logSoftmax, plain, random, type ToyModel, ToySession, toyModel } from './toy.ts';

const V = 17;
const florence = { forcedBosTokenId: 0, forcedEosTokenId: 2, noRepeatNgramSize: 3 };

/** A model with frequent end tokens, so that answers differ in length. */
function ending(seed: number): ToyModel {
  const model = toyModel(seed, V);
  return (item, sequence) => {
    const logits = model(item, sequence);
    logits[2] = logits[2] + 1.5;
    return logits;
  };
}

function run(model: ToyModel, batch: number, settings: GenerationSettings): Promise<GeneratedSequence[][]> {
  return withoutLeaks(() => generateSequences(new ToySession(model, batch, settings.numBeams), settings));
}

function same(actual: GeneratedSequence, expected: PlainAnswer, what: string): void {
  assert.equal(actual.ids, expected.ids, what);
  const off = Math.abs(actual.score - expected.score);
  assert.ok(
    off <= 1e-4 * Math.max(1, Math.abs(expected.score)),
    `${what}: score ${actual.score}, not ${expected.score}`,
  );
}

test('greedy decoding takes the best token at each step', async () => {
  for (const [i, options] of [{}, { noRepeatNgramSize: 1 }, { noRepeatNgramSize: 2 }, florence].entries()) {
    const settings = { ...plain, maxNewTokens: 12, ...options };
    for (let seed = 0; seed < 6; seed++) {
      const model = ending(100 * i + seed);
      const answers = await run(model, 3, settings);
      answers.forEach(([answer], item) => {
        same(answer!, plainGreedy(model, item, settings), `options ${i}, seed ${seed}, item ${item}`);
      });
    }
  }
});

test('beam search equals the definition of the reference', async () => {
  const ways = [1, 0, -1, 0.6, 2].flatMap(lengthPenalty =>
    ([true, false, 'never'] as const).map(earlyStopping => ({ lengthPenalty, earlyStopping })),
  );
  const rules = [{}, florence, { noRepeatNgramSize: 2 }];
  const next = random(7);
  const any = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)];
  for (let seed = 0; seed < (testBackend === 'webgpu' ? 2 : 20) * ways.length; seed++) {
    const numBeams = any([2, 3, 4]);
    const numReturnSequences = any([1, numBeams]);
    const maxNewTokens = any([3, 5, 9]);
    const way = ways[seed % ways.length];
    const settings = { ...plain, ...any(rules), ...way, numBeams, numReturnSequences, maxNewTokens };
    const model = ending(1000 + seed);
    const expected = plainBeams(model, 3, settings);
    const actual = await run(model, 3, settings);
    expected.forEach((answers, item) => {
      const what = `seed ${seed}, item ${item}, ${JSON.stringify(settings)}`;
      assert.is(actual[item].length, answers.length, what);
      answers.forEach((answer, rank) => {
        same(actual[item][rank], answer, `${what}, rank ${rank}`);
      });
    });
  }
});

test('penalties, bans and end tokens: the answers of transformers', async () => {
  assert.ok(cases.answers.length > 20);
  for (const one of cases.answers) {
    const settings = settingsOf(one);
    const { tokens, positions } = one;
    const model: ToyModel = (_, sequence) =>
      Float32Array.from(tokens[sequence.at(-1)!], (logit, token) => logit + positions[sequence.length - 1][token]);
    const [answers] = await run(model, 1, settings);
    const what = JSON.stringify(one.settings);
    assert.equal(
      answers.map(({ ids }) => ids),
      one.answers,
      what,
    );
    one.scores?.forEach((score, i) => {
      assert.ok(Math.abs(answers[i].score - score) < 2e-5, `${what}: score ${answers[i].score}, not ${score}`);
    });
  }
});

test("'never' continues while the best beam could win at the length with the best penalty", async () => {
  // Two poor answers (ends with p 0.12) fill both beams first; the good answer ends after three tokens.
  const model: ToyModel = (_, { length }) => {
    const p = new Array(V).fill(0.03 / (V - 2));
    p[2] = length < 3 ? 0.12 : 0.9;
    p[4 + length] = 0.97 - p[2];
    return Float32Array.from(p, Math.log);
  };
  const cases: [lengthPenalty: number, earlyStopping: GenerationSettings['earlyStopping'], length: number][] = [
    [-1, 'never', 3],
    [-1, false, 3],
    [-1, true, 1],
    [1, 'never', 3],
    [0, 'never', 3],
  ];
  for (const [lengthPenalty, earlyStopping, length] of cases) {
    const settings = { ...plain, numBeams: 2, maxNewTokens: 20, lengthPenalty, earlyStopping };
    const [[answer]] = await run(model, 1, settings);
    same(answer, plainBeams(model, 1, settings)[0][0], `penalty ${lengthPenalty}, ${earlyStopping}`);
    assert.is(answer.ids.length - 1, length, `penalty ${lengthPenalty}, ${earlyStopping}`);
  }
});

test('with a beam for every sequence the best answers are found, in order', async () => {
  const small = 5;
  for (const lengthPenalty of [1, 0, 2, -0.5]) {
    for (const earlyStopping of [true, false, 'never'] as const) {
      const limits = { maxNewTokens: 4, numBeams: 700, numReturnSequences: 20 };
      const settings = { ...plain, ...limits, lengthPenalty, earlyStopping, noRepeatNgramSize: 2 };
      const model = toyModel(42, small);
      const expected = everyAnswer(model, 0, settings).slice(0, 20);
      const [answers] = await run(model, 1, settings);
      expected.forEach((answer, rank) => {
        same(answers![rank], answer, `penalty ${lengthPenalty}, ${earlyStopping}, rank ${rank}`);
      });
    }
  }
});

test('beam search with one beam equals greedy decoding', async () => {
  for (let seed = 0; seed < 5; seed++) {
    const settings = { ...plain, ...florence };
    const greedy = await run(ending(seed), 2, settings);
    const beam = await withoutLeaks(() => beamSearch(new ToySession(ending(seed), 2, 1), settings));
    assert.equal(beam, greedy, `seed ${seed}`);
  }
});

test('log-probabilities are those of the unprocessed logits, 0 for forced tokens, and sum to the score', async () => {
  for (const numBeams of [1, 3]) {
    const settings = { ...plain, ...florence, numBeams, numReturnSequences: numBeams, lengthPenalty: 0.7 };
    const model = ending(3);
    const answers = (await run(model, 2, settings)).flatMap((list, item) => list.map(answer => ({ item, answer })));
    for (const { item, answer } of answers) {
      const { ids, logProbs, score } = answer;
      assert.is(logProbs.length, ids.length - 1);
      logProbs.forEach((logProb, i) => {
        const forced = i === 0 || i === settings.maxNewTokens - 1;
        const expected = forced ? 0 : logSoftmax(model(item, ids.slice(0, i + 1)))[ids[i + 1]];
        assert.ok(Math.abs(logProb - expected) < 1e-5, `${numBeams} beams, token ${i}: ${logProb}, not ${expected}`);
      });
      const sum = logProbs.reduce((a, b) => a + b);
      assert.ok(Math.abs(score - sum / logProbs.length ** 0.7) < 1e-9, 'score is the sum over length ** penalty');
    }
  }
});

test('probabilities near each token are those of the winning path, 1 for forced tokens', async () => {
  const [first, end] = [3, V - 2];
  for (const numBeams of [1, 3]) {
    const locations = { first, count: end - first };
    const settings = { ...plain, ...florence, numBeams, numReturnSequences: numBeams, locations };
    const model = ending(3);
    const answers = (await run(model, 2, settings)).flatMap((list, item) => list.map(answer => ({ item, answer })));
    for (const { item, answer } of answers) {
      const { ids, nearbyProbs } = answer;
      assert.is(nearbyProbs.length, ids.length - 1);
      nearbyProbs.forEach((nearbyProb, i) => {
        const probs = logSoftmax(model(item, ids.slice(0, i + 1))).map(Math.exp);
        const token = ids[i + 1];
        const isLocation = token >= first && token < end;
        const near = isLocation ? probs.slice(first, end) : [probs[token]];
        const forced = i === 0 || i === settings.maxNewTokens - 1;
        const expected = forced ? 1 : near.reduce((a, b) => a + b);
        assert.ok(Math.abs(nearbyProb - expected) < 1e-5, `${numBeams} beams, token ${i}: ${nearbyProb}`);
      });
    }
  }
});

test('truncated: whether the limit ended the answer', async () => {
  const end =
    (at: number): ToyModel =>
    (_, sequence) => {
      const logits = new Float32Array(V);
      logits[sequence.length >= at ? 2 : 5] = 30;
      return logits;
    };
  const cases: [at: number, options: Partial<GenerationSettings>, truncated: boolean, why: string][] = [
    [3, {}, false, 'ends before the limit'],
    [6, {}, false, 'ends at the limit'],
    [6, { forcedEosTokenId: 2 }, true, 'the end is forced at the limit, whatever the model predicts'],
    [9, {}, true, 'does not end'],
    [9, { forcedEosTokenId: 2 }, true, 'the end is forced'],
    [9, { forcedEosTokenId: 7 }, true, 'another token than the end is forced'],
  ];
  for (const numBeams of [1, 3]) {
    for (const [at, options, truncated, why] of cases) {
      const settings = { ...plain, maxNewTokens: 6, numBeams, ...options };
      const [[answer]] = (await run(end(at), 1, settings)) as [[GeneratedSequence]];
      assert.is(answer.truncated, truncated, `${numBeams} beams: ${why}: ${answer.ids}`);
    }
  }
});

test('a batch returns the answers of its items alone, and computes no finished rows', async () => {
  for (const numBeams of [1, 3]) {
    const settings = { ...plain, ...florence, numBeams, numReturnSequences: numBeams, maxNewTokens: 24 };
    const model = ending(11);
    const session = new ToySession(model, 4, numBeams);
    const batch = await generateSequences(session, settings);
    const lengths: number[] = [];
    for (const [item, answers] of batch.entries()) {
      const alone = new ToySession((_, sequence) => model(item, sequence), 1, numBeams);
      const [expected] = await generateSequences(alone, settings);
      assert.equal(
        answers.map(answer => answer.ids),
        expected!.map(answer => answer.ids),
      );
      lengths.push(alone.steps.length);
    }
    assert.ok(new Set(lengths).size > 1, 'items end at different times');
    const rows = session.steps.reduce((a, b) => a + b);
    assert.is(rows, numBeams * lengths.reduce((a, b) => a + b), 'row-steps of the batch');
  }
});

test('answers of one token', async () => {
  for (const numBeams of [1, 3]) {
    const one = { ...plain, numBeams, numReturnSequences: numBeams, maxNewTokens: 1 };
    const answers = await run(ending(1), 2, one);
    const best = logSoftmax(ending(1)(0, [2]));
    assert.equal(answers[0][0].ids, [2, best.indexOf(Math.max(...best))]);
    assert.is(answers[0].length, numBeams);
    // Both are forced: the end takes precedence, no decoder step is needed, and only one answer exists.
    const session = new ToySession(ending(1), 2, numBeams);
    const forced = await generateSequences(session, { ...one, ...florence });
    const only = { ids: [2, 2], logProbs: [0], nearbyProbs: [1], score: 0, truncated: true };
    assert.equal(forced, [[only], [only]]);
    assert.equal(session.steps, []);
  }
});

test('tokenSteps yields tokens as they are generated and can be left at any time', async () => {
  const settings = { ...plain, maxNewTokens: 10 };
  const model = ending(5);
  const expected = await run(model, 1, settings);
  const seen: number[] = [];
  await withoutLeaks(async () => {
    const session = new ToySession(model, 1, 1);
    for await (const [{ token }] of tokenSteps(session, settings) as AsyncIterable<[{ token: number }]>) {
      seen.push(token);
      assert.is(session.steps.length, seen.length, 'no step runs ahead');
    }
  });
  assert.equal([2, ...seen], expected[0][0].ids);
  await withoutLeaks(async () => {
    const session = new ToySession(toyModel(5, V), 2, 1);
    for await (const _ of tokenSteps(session, settings)) if (session.steps.length === 2) break;
    assert.is(session.steps.length, 2);
  });
});

test('an abort stops before the next step and throws its reason', async () => {
  for (const numBeams of [1, 3]) {
    const settings = { ...plain, numBeams, maxNewTokens: 50 };
    const endless: ToyModel = () => Float32Array.from({ length: V }, (_, token) => (token === 2 ? -30 : token / 9));
    const reason = new Error('enough');
    await withoutLeaks(async () => {
      const controller = new AbortController();
      const session = new ToySession(endless, 2, numBeams);
      const step = session.step.bind(session);
      session.step = tokens => {
        if (session.steps.length === 3) controller.abort(reason);
        return step(tokens);
      };
      const error = await generateSequences(session, settings, controller.signal).catch(e => e);
      assert.is(error, reason, `${numBeams} beams`);
      assert.is(session.steps.length, 4, 'the step of the abort is the last');
    });
    const before = new ToySession(endless, 1, numBeams);
    const error = await generateSequences(before, settings, AbortSignal.abort()).catch(e => e);
    assert.is(error.name, 'AbortError');
    assert.equal(before.steps, []);
  }
});

test('timers run during a generation and can abort it', async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 1);
  const endless: ToyModel = () => Float32Array.from({ length: V }, (_, token) => (token === 2 ? -30 : token / 9));
  const settings = { ...plain, maxNewTokens: 1e6 };
  const error = await generateSequences(new ToySession(endless, 1, 1), settings, controller.signal).catch(e => e);
  assert.is(error.name, 'AbortError');
});

test('errors leak no tensors', async () => {
  for (const numBeams of [1, 3]) {
    await withoutLeaks(async () => {
      const broken: ToyModel = (_, sequence) => new Float32Array(V).fill(sequence.length > 2 ? Number.NaN : 0);
      const session = new ToySession(broken, 2, numBeams);
      const error = await generateSequences(session, { ...plain, numBeams }).catch(e => e);
      assert.instance(error, Florence2Error);
      assert.match(error.message, /not finite/);
    });
    await withoutLeaks(async () => {
      const session = new ToySession(toyModel(1, 4), 1, numBeams);
      const settings = { ...plain, numBeams, eosTokenIds: [3], noRepeatNgramSize: 1, maxNewTokens: 9 };
      session.step = () => tf.tensor2d(new Array(numBeams).fill([1, 2, 3, -Infinity]));
      const error = await generateSequences(session, settings).catch(e => e);
      assert.instance(error, Florence2Error);
      assert.match(error.message, /Every token after 2 is banned by noRepeatNgramSize 1/);
    });
  }
});

test.run();
