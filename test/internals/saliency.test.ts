import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { Florence2Error, UsageError } from '../../src/errors.ts';
import { captureForced, forcedLogits } from '../../src/internals/forced_pass.ts';
import { gradientsAt } from '../../src/internals/gradients_at.ts';
import { answerLogProb, logitDifference } from '../../src/internals/logit_metrics.ts';
import { Question } from '../../src/internals/question.ts';
import {
  gaussLegendre,
  gradCam,
  gradCamMap,
  gradientTimesInput,
  inputGradients,
  integratedGradients,
} from '../../src/internals/saliency.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { openTiny, street } from './tiny_model.ts';

const side = 64;
const model = await openTiny(side);
const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A green car' });
const metric = logitDifference(1, 5, 700);
const noGradients = testBackend === 'wasm';
const withGradients = noGradients ? test.skip : test;

/** Returns the metric of an image [H, W, 3]. */
async function metricOf(pixels: Float32Array): Promise<number> {
  const made = tf.tidy(() => {
    return metric(forcedLogits(model, question, { pixels: tf.tensor4d(pixels, [1, side, side, 3]) }), question);
  });
  return (await download(made)).values[0];
}

withGradients('input gradients equal finite differences of single pixels', async () => {
  await withoutLeaks(async () => {
    const map = await inputGradients(model, question, metric);
    assert.equal([map.width, map.height, map.data.length], [side, side, side * side]);
    assert.ok(map.data.every(value => value >= 0));
    const pixels = (await question.pixels.data()) as Float32Array;
    const strongest = [...map.data.keys()].sort((a, b) => map.data[b] - map.data[a]).slice(0, 2);
    for (const at of strongest) {
      // One channel changes at a time; the map holds the largest absolute slope.
      const slopes: number[] = [];
      for (const channel of [0, 1, 2]) {
        const step = 0.05;
        const values = [];
        for (const sign of [1, -1]) {
          const moved = pixels.slice();
          moved[3 * at + channel] += sign * step;
          values.push(await metricOf(moved));
        }
        slopes.push(Math.abs(values[0] - values[1]) / (2 * step));
      }
      const slope = Math.max(...slopes);
      assert.ok(Math.abs(map.data[at] - slope) < 0.01 * slope, `pixel ${at}: ${map.data[at]}, by differences ${slope}`);
    }
  });
});

withGradients('gradient times input is summed over the channels', async () => {
  await withoutLeaks(async () => {
    const map = await gradientTimesInput(model, question, metric);
    const cache = gradientsAt(model, question, metric, 'pixels');
    const [gradient, pixels] = [await cache.get('pixels').data(), await question.pixels.data()];
    const expected = Float32Array.from(map.data, (_, i) =>
      [0, 1, 2].reduce((sum, channel) => sum + gradient[3 * i + channel] * pixels[3 * i + channel], 0),
    );
    assert.ok(difference(map.data, expected).maxAbs < 1e-6);
    assert.ok(map.data.some(value => value < 0) && map.data.some(value => value > 0));
    cache.dispose();
  });
});

withGradients('integrated gradients sum to the difference of the metric', async () => {
  await withoutLeaks(async () => {
    // This path avoids the steep part near an image of one colour, so a few steps are accurate.
    const noise = tf.randomNormal(question.pixels.shape, 0, 0.2, 'float32', 3);
    const baseline = tf.tidy(() => tf.add(tf.mul(question.pixels, 0.8), noise)) as tf.Tensor4D;
    const [from, to] = [(await baseline.data()) as Float32Array, (await question.pixels.data()) as Float32Array];
    const expected = (await metricOf(to)) - (await metricOf(from));
    assert.ok(Math.abs(expected) > 0.1, `there is nothing to distribute: ${expected}`);
    const progress: number[] = [];
    const onProgress = ({ done }: { done: number }) => void progress.push(done);
    const map = await integratedGradients(model, question, metric, { baseline, steps: 12, batchSize: 5, onProgress });
    assert.equal(progress, [5, 10, 12]);
    assert.equal([map.width, map.height, map.data.length], [side, side, side * side]);
    const sum = map.data.reduce((a, b) => a + b, 0);
    assert.ok(Math.abs(map.difference - expected) < 1e-4, `${map.difference}, expected ${expected}`);
    assert.ok(Math.abs(sum - expected) < 1e-4, `${sum}, expected ${expected}`);
    assert.ok(Math.abs(map.error - (sum - expected)) < 1e-4);
    const rough = await integratedGradients(model, question, metric, { baseline, steps: 1 });
    assert.ok(Math.abs(rough.error) > 1e-2, 'one step is accurate too');
    tf.dispose([noise, baseline]);
  });
});

for (const [baseline, level] of [
  ['mean', null],
  ['black', 0],
  ['white', 1],
] as const) {
  withGradients(`a baseline may be one colour: ${baseline}`, async () => {
    await withoutLeaks(async () => {
      const map = await integratedGradients(model, question, metric, { baseline, steps: 1 });
      const { imageMean, imageStd } = model.preprocessor;
      const color = imageMean.map((mean, i) => (level === null ? 0 : (level - mean) / imageStd[i]));
      const start = Float32Array.from({ length: side * side * 3 }, (_, i) => color[i % 3]);
      const expected = (await metricOf((await question.pixels.data()) as Float32Array)) - (await metricOf(start));
      assert.ok(Math.abs(map.difference - expected) < 1e-4, `${map.difference}, expected ${expected}`);
    });
  });
}

withGradients('integrated gradients are zero if the image is the baseline', async () => {
  await withoutLeaks(async () => {
    const onWarning = (message: string) => assert.unreachable(message);
    const map = await integratedGradients(model, question, metric, { baseline: question.pixels, steps: 1, onWarning });
    assert.ok(map.data.every(value => value === 0));
    assert.ok(Math.abs(map.difference) < 1e-4);
  });
});

withGradients('integrated gradients warn if their sum misses the difference by more than 10 %', async () => {
  await withoutLeaks(async () => {
    const shares: number[] = [];
    for (const steps of [1, 2, 8, 32]) {
      const warnings: string[] = [];
      const onWarning = (message: string) => warnings.push(message);
      const map = await integratedGradients(model, question, metric, { baseline: 'black', steps, onWarning });
      const missed = Math.abs(map.data.reduce((a, b) => a + b, 0) / map.difference - 1);
      shares.push(missed);
      assert.is(warnings.length, missed > 0.1 ? 1 : 0, `${steps} steps miss ${missed}`);
      if (missed > 0.1) assert.match(warnings[0], new RegExp(`sum to .* differs by .*: use more than ${steps} steps`));
    }
    assert.ok(Math.max(...shares) > 0.1 && Math.min(...shares) < 0.1, String(shares));
  });
});

withGradients('integrated gradients can be aborted between two passes', async () => {
  await withoutLeaks(async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error('enough'));
    const options = { steps: 3, onProgress, signal: controller.signal };
    const error = await integratedGradients(model, question, metric, options).catch(error => error);
    assert.is(error.message, 'enough');
  });
});

test('Gauss–Legendre quadrature is exact for polynomials of degree 2n − 1', () => {
  for (const n of [1, 2, 5, 32]) {
    const nodes = gaussLegendre(n);
    for (let degree = 0; degree < 2 * n; degree++) {
      const sum = nodes.reduce((total, { place, weight }) => total + weight * place ** degree, 0);
      assert.ok(Math.abs(sum - 1 / (degree + 1)) < 1e-13, `n ${n}, degree ${degree}: ${sum}`);
    }
    const next = nodes.reduce((total, { place, weight }) => total + weight * place ** (2 * n), 0);
    if (n < 5) assert.ok(Math.abs(next - 1 / (2 * n + 1)) > 1e-4, 'it is exact for the next degree too');
  }
});

test('Grad-CAM equals its definition', async () => {
  await withoutLeaks(async () => {
    // Two channels on a 2×2 map, whose gradients have the means 0.5 and −1.
    const activation = tf.tensor4d([1, 0, 2, 3, -4, 1, 6, 2], [1, 2, 2, 2]);
    const gradient = tf.tensor4d([2, -1, 0, -1, 0, 0, 0, -2], [1, 2, 2, 2]);
    const map = gradCamMap(activation, gradient);
    assert.equal(map.shape, [2, 2]);
    assert.equal(await map.data(), Float32Array.of(0.5, 0, 0, 1)); // of 0.5, −2, −3 and 1
    tf.dispose([activation, gradient, map]);
  });
});

for (const stage of [0, 2, 3]) {
  const run = noGradients && stage < 3 ? test.skip : test;
  run(`Grad-CAM at stage ${stage} is of the activations there and their gradients`, async () => {
    await withoutLeaks(async () => {
      const map = await gradCam(model, question, metric, { stage });
      const size = side / 4 / 2 ** stage;
      assert.equal([map.width, map.height], [size, size]);
      const point = `vision_tower.blocks.${stage}.${model.config.vision.depths[stage] - 1}.channel_block.hook_resid_post`;
      const [activations, gradients] = [
        captureForced(model, question, point),
        gradientsAt(model, question, metric, point),
      ];
      const [a, g] = [await activations.array(point), await gradients.array(point)];
      const C = a.shape[3];
      const weights = Array.from({ length: C }, (_, c) => {
        return g.values.reduce((sum, value, i) => (i % C === c ? sum + value : sum), 0) / size ** 2;
      });
      const expected = Float32Array.from({ length: size ** 2 }, (_, i) =>
        Math.max(
          0,
          weights.reduce((sum, weight, c) => sum + weight * a.values[i * C + c], 0),
        ),
      );
      const scale = expected.reduce((x, y) => Math.max(x, y), 0);
      assert.ok(scale > 0, 'the map is empty');
      assert.ok(difference(map.data, expected).maxAbs < 1e-4 * scale);
      activations.dispose();
      gradients.dispose();
    });
  });
}

test('wrong arguments are errors without leaks', async () => {
  await withoutLeaks(async () => {
    for (const [attempt, message] of [
      [() => gradCam(model, question, metric, { stage: 4 }), /Stage 4 does not exist; DaViT has stages 0 to 3/],
      [() => gradCam(model, question, metric, { at: 'vision_tower.nothing' }), /No hook point/],
      [
        () => gradCam(model, question, metric, { at: 'language_model.decoder.layers.1.hook_mlp_out' }),
        /Grad-CAM needs a map/,
      ],
      [() => integratedGradients(model, question, metric, { steps: 0 }), /steps must be/],
      [
        () => integratedGradients(model, question, metric, { baseline: question.features as tf.Tensor as tf.Tensor4D }),
        /baseline must be/,
      ],
    ] as [() => Promise<unknown>, RegExp][]) {
      const error = await attempt().catch(error => error);
      assert.instance(error, UsageError, String(message));
      assert.match((error as Error).message, message);
    }
  });
});

(noGradients ? test : test.skip)('a backend without gradients of convolutions throws an error', async () => {
  for (const attempt of [
    () => inputGradients(model, question, answerLogProb()),
    () => gradientTimesInput(model, question, answerLogProb()),
    () => integratedGradients(model, question, answerLogProb(), { steps: 2 }),
    () => gradCam(model, question, answerLogProb(), { stage: 1 }),
  ]) {
    await withoutLeaks(async () => {
      const error = await attempt().catch(error => error);
      assert.instance(error, Florence2Error);
      assert.match(error.message, /^The wasm backend cannot compute these gradients.*Use tensorflow/);
    });
  }
});

test.run();
