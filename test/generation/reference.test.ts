/**
 * Compares all cases of generation.json, which transformers generated from the same weights: ids exactly, scores to the
 * tolerance of the reference's README.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GeneratedSequence } from '../../src/generation/decoding.ts';
import type { GenerationOptions } from '../../src/generation/options.ts';
import { type GenerationCase, readCases } from '../../src/parity/generation_cases.ts';
import { readManifest } from '../../src/parity/manifest.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { hasReference, reference, referenceJson } from '../reference.ts';
import { ReferenceModel } from './reference_model.ts';

const SCORE_TOLERANCE = 1.5e-4;

interface Case extends GenerationCase {
  /** Whether each of PyTorch's sequences ended before the limit of tokens. */
  ended: boolean[];
}

async function casesOf(variant: string): Promise<Case[]> {
  const { cases } = referenceJson(`model/${variant}/generation.json`);
  const { microsoftGreedy: _, ...manifest } = await readManifest(reference(`model/${variant}`));
  const read = await readCases(manifest);
  return read.map(one => ({ ...one, ended: cases[one.name].ends_by_eos_before_limit }));
}

function compare(answers: GeneratedSequence[][], expected: Case, what: string): void {
  const flat = answers.flat();
  const length = Math.max(...flat.map(({ ids }) => ids.length));
  const padded = flat.map(({ ids }) => [...ids, ...new Array(length - ids.length).fill(1)]);
  assert.equal(padded, expected.sequences, what);
  expected.scores?.forEach((score, i) => {
    const difference = Math.abs(flat[i].score - score);
    assert.ok(difference <= SCORE_TOLERANCE, `${what}, sequence ${i}: score ${flat[i].score} is off by ${difference}`);
  });
  flat.forEach(({ ids, truncated }, i) => {
    const endsFreely = expected.ended[i] || (!expected.options.forcedEosTokenId && ids.at(-1) === 2);
    assert.is(truncated, !endsFreely, `${what}, sequence ${i}: truncated`);
  });
}

/** Settings under which an answer ends only by itself or at the limit. */
const unforced: GenerationOptions = { noRepeatNgramSize: 0, forcedBosTokenId: null, forcedEosTokenId: null };

const software = testBackend === 'webgpu'; // a step takes seconds, more in long sequences

// The microsoft checkpoint of tiny-large has a smaller vocabulary than the one that generated the cases.
const allCheckpoints = [
  ['tiny', 'microsoft'],
  ['tiny', 'hf'],
  ['tiny-pad', 'microsoft'],
  ['tiny-pad', 'hf'],
  ['tiny-large', 'hf'],
].filter(([variant]) => hasReference(`model/${variant}/generation.json`));
const checkpoints = software ? allCheckpoints.slice(-1) : allCheckpoints;
/** The cases run where all would take long: without caches, and on software WebGPU. */
const few = ['greedy_florence', 'beam3_return2', 'beam5_plain'];

for (const [variant, layout] of checkpoints) {
  const checks = (await casesOf(variant)).flatMap(expected =>
    [true, false]
      .filter(useCache => few.includes(expected.name) || (useCache && layout === 'hf' && !software))
      .map(useCache => ({ expected, useCache })),
  );

  test(`${variant}/${layout}: ${checks.length} generations`, async () => {
    assert.ok(checks.length >= 2 * few.length);
    const model = await ReferenceModel.open(variant, layout);
    for (const { expected, useCache } of checks) {
      const { name, options, masked, row } = expected;
      const rows = row === undefined ? undefined : [row];
      const answers = await withoutLeaks(() => model.generate({ ...options, masked, rows, useCache }));
      compare(answers, expected, `${variant}/${layout} ${name}, useCache ${useCache}`);
    }
    model.dispose();
  });
}

const [variant, layout] = checkpoints.at(-1)!;
test('a batch of four prompts returns the answers of each prompt alone', async () => {
  const model = await ReferenceModel.open(variant, layout);
  const rows = [0, 1, model.batch - 1, 0];
  for (const numBeams of [1, 3]) {
    const options = { numBeams, numReturnSequences: numBeams, maxNewTokens: software ? 8 : 24 };
    const batch = await withoutLeaks(() => model.generate({ ...options, rows }));
    for (const [i, row] of rows.entries()) {
      const [alone] = await withoutLeaks(() => model.generate({ ...options, rows: [row] }));
      alone.forEach(({ ids, score, logProbs }, rank) => {
        const what = `${numBeams} beams, prompt ${i}, rank ${rank}`;
        assert.equal(batch[i][rank].ids, ids, what);
        assert.ok(Math.abs(batch[i][rank].score - score) <= SCORE_TOLERANCE, `${what}: score`);
        logProbs.forEach((logProb, t) => {
          const difference = Math.abs(batch[i][rank].logProbs[t] - logProb);
          assert.ok(difference <= SCORE_TOLERANCE, `${what}, token ${t}: log-probability is off by ${difference}`);
        });
      });
    }
  }
  model.dispose();
});

(software ? test.skip : test)('a generation ends at the last position', async () => {
  const model = await ReferenceModel.open(variant, layout);
  for (const useCache of [true, false]) {
    const options = { ...unforced, numBeams: 1, maxNewTokens: 5000, useCache, rows: [0], eosTokenIds: [3] };
    const [[answer]] = await withoutLeaks(() => model.generate(options));
    assert.is(answer.ids.length, 1 + model.maxPositions);
    assert.is(answer.truncated, true);
  }
  model.dispose();
});

test('an abort leaks no tensors', async () => {
  const model = await ReferenceModel.open(variant, layout);
  for (const numBeams of [1, 3]) {
    for (const useCache of [true, false]) {
      let steps = 0;
      const controller = new AbortController();
      const onStep = (step: number) => {
        steps = step;
        if (step === 4) controller.abort(new Error('enough'));
      };
      const options = { ...unforced, numBeams, maxNewTokens: 24, useCache, signal: controller.signal, onStep };
      const error = await withoutLeaks(() => model.generate(options).catch(e => e));
      assert.is(error.message, 'enough');
      assert.is(steps, 4);
    }
  }
  model.dispose();
});

test.run();
