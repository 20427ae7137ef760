import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActivationCache } from '../../src/activations/cache.ts';
import { captureForced } from '../../src/internals/forced_pass.ts';
import { gradientRelevance } from '../../src/internals/gradient_relevance.ts';
import { gradientsAt } from '../../src/internals/gradients_at.ts';
import { logitDifference } from '../../src/internals/logit_metrics.ts';
import { Question } from '../../src/internals/question.ts';
import { withoutLeaks } from '../backend.ts';
import { openTiny, street } from './tiny_model.ts';

const test = suite('gradient relevance');
const model = await openTiny();
test.after(() => model.dispose());

type Matrix = number[][];
const zeros = (rows: number, columns: number): Matrix => Array.from({ length: rows }, () => Array(columns).fill(0));
const eye = (n: number): Matrix => zeros(n, n).map((row, i) => row.map((_, j) => Number(i === j)));
const add = (a: Matrix, b: Matrix): Matrix => a.map((row, i) => row.map((x, j) => x + b[i][j]));
const times = (a: Matrix, b: Matrix): Matrix =>
  a.map(row => b[0].map((_, j) => row.reduce((sum, x, k) => sum + x * b[k][j], 0)));
const transposed = (a: Matrix): Matrix => a[0].map((_, j) => a.map(row => row[j]));

/** Chefer et al. 2021, eq. 5: the mean over the heads of the positive part of gradient times attention. */
async function barA(patterns: ActivationCache, gradients: ActivationCache, point: string): Promise<Matrix> {
  const { values, shape } = await patterns.array(point);
  const slopes = (await gradients.array(point)).values;
  const [, heads, queries, keys] = shape;
  return zeros(queries, keys).map((row, q) =>
    row.map((_, k) => {
      let sum = 0;
      for (let h = 0; h < heads; h++) {
        const at = (h * queries + q) * keys + k;
        sum += Math.max(0, values[at] * slopes[at]);
      }
      return sum / heads;
    }),
  );
}

/** Eq. 8 and 9. Rows without any relevance but their own have none. */
function bar(R: Matrix): Matrix {
  return R.map((row, i) => {
    const hat = row.map((x, j) => x - Number(i === j));
    const sum = hat.reduce((a, b) => a + b, 0);
    return hat.map((x, j) => (sum === 0 ? 0 : x / sum) + Number(i === j));
  });
}

test('the relevance follows from attention and gradients by the rules of the paper', () =>
  withoutLeaks(async () => {
    const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A green car' });
    const metric = logitDifference(2, 50, 700);
    const points = ['encoder.layers.*.self_attn', 'decoder.layers.*.self_attn', 'decoder.layers.*.encoder_attn'].map(
      module => `language_model.${module}.hook_pattern`,
    );
    const patterns = captureForced(model, question, points);
    const gradients = gradientsAt(model, question, metric, points);
    const [S, T] = [question.positions.length, question.answerIds.length];
    const A = (module: string, layer: number) =>
      barA(patterns, gradients, `language_model.${module.replace('.', `.layers.${layer}.`)}.hook_pattern`);
    let Rii = eye(S);
    for (const layer of [0, 1]) Rii = add(Rii, times(await A('encoder.self_attn', layer), Rii)); // eq. 6
    let [Rqq, Rqi] = [eye(T), zeros(T, S)];
    for (const layer of [0, 1]) {
      const self = await A('decoder.self_attn', layer);
      [Rqq, Rqi] = [add(Rqq, times(self, Rqq)), add(Rqi, times(self, Rqi))]; // eq. 6 and 7
      const cross = await A('decoder.encoder_attn', layer);
      Rqi = add(Rqi, times(transposed(bar(Rqq)), times(cross, bar(Rii)))); // eq. 10
    }
    const map = await gradientRelevance(model, question, metric);
    assert.equal(map.shape, [T, S]);
    assert.equal(map.keys, question.positions);
    assert.is(map.queries.length, T);
    assert.equal(map.grid, [3, 3]);
    const largest = Math.max(...Rqi.flat());
    assert.ok(largest > 0);
    Rqi.flat().forEach((value, i) => {
      assert.ok(
        Math.abs(map.values[i] - value) < 1e-4 * largest,
        `value ${i}: ${map.values[i]}, by the paper ${value}`,
      );
    });
    assert.ok(
      map.values.slice(3 * S).every(value => value === 0),
      'later tokens are not relevant to token 2',
    );
    for (const owner of [patterns, gradients, question]) owner.dispose();
  }));

test.run();
