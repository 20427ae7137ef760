import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { Parameter } from '../../src/nn/params.ts';
import {
  AdamW,
  clipFactor,
  globalNorm,
  learningRateAt,
  type Moments,
  type ScheduleName,
} from '../../src/training/optimizer.ts';
import { withoutLeaks } from '../backend.ts';

// PyTorch 2.15, for each case:
//   m = Parameter(tensor([[.5, -1, 2], [0, .25, -.125]])); v = Parameter(tensor([1., -2]))
//   opt = AdamW([{'params': [m], 'weight_decay': wd}, {'params': [v], 'weight_decay': 0}], lr=lr, betas=betas, eps=eps)
//   for step in range(steps):
//     for group in opt.param_groups: group['lr'] = lr / (step + 1)
//     m.grad = tensor([[.1, -.2, 3], [0, 1e-6, -.5]]) * (step + 1); v.grad = tensor([.25, -.75]) * (1 - step)
//     norms.append(clip_grad_norm_([m, v], clip)); opt.step()
interface Case {
  weightDecay: number;
  betas: [number, number];
  epsilon: number;
  rate: number;
  clip: number;
  norms: number[];
  m: number[];
  v: number[];
}
const cases: Case[] = [
  {
    ...{ weightDecay: 0, betas: [0.9, 0.999], epsilon: 1e-8, rate: 0.1, clip: 1e9 },
    norms: [3.1503968238830566, 6.099180221557617, 9.18286418914795],
    m: [0.3198075294494629, -0.8198075294494629, 1.8198074102401733, 0, 0.07124796509742737, 0.055192459374666214],
    v: [0.8693593740463257, -1.8693592548370361],
  },
  {
    ...{ weightDecay: 0.1, betas: [0.9, 0.999], epsilon: 1e-8, rate: 0.1, clip: 1 },
    norms: [3.1503968238830566, 6.099180221557617, 9.18286418914795],
    m: [0.3084837794303894, -0.7993670105934143, 1.7811334133148193, 0, 0.06856843829154968, 0.05967871472239494],
    v: [0.8570841550827026, -1.857084035873413],
  },
  {
    ...{ weightDecay: 0.01, betas: [0.8, 0.95], epsilon: 1e-3, rate: 0.05, clip: 2 },
    norms: [3.1503968238830566, 6.099180221557617, 9.18286418914795, 12.300406455993652],
    m: [0.39687952399253845, -0.8955650329589844, 1.893771767616272, 0, 0.24967288970947266, -0.020993981510400772],
    v: [0.9331775903701782, -1.9328656196594238],
  },
];

/** A matrix and a bias, with the gradients of the PyTorch script. */
class Run {
  readonly m = new Parameter('m.weight', [2, 3]);
  readonly v = new Parameter('v.bias', [2]);
  readonly optimizer: AdamW;

  constructor(private readonly options: Case) {
    this.m.load(new Float32Array([0.5, -1, 2, 0, 0.25, -0.125]));
    this.v.load(new Float32Array([1, -2]));
    this.optimizer = new AdamW(options);
  }

  /** Runs a step and returns the norm of the gradients. */
  async step(step: number): Promise<number> {
    const { rate, clip } = this.options;
    const m = [0.1, -0.2, 3, 0, 1e-6, -0.5].map(x => x * (step + 1));
    const v = [0.25, -0.75].map(x => x * (1 - step));
    const gradients = new Map<Parameter, tf.Tensor>([
      [this.m, tf.tensor(m, [2, 3])],
      [this.v, tf.tensor(v)],
    ]);
    const total = globalNorm(gradients.values());
    const [norm] = await total.data();
    this.optimizer.step(gradients, rate / (step + 1), clipFactor(norm, clip));
    tf.dispose([total, ...gradients.values()]);
    return norm;
  }

  dispose(): void {
    this.optimizer.dispose();
    this.m.dispose();
    this.v.dispose();
  }
}

async function close(got: tf.Tensor, want: number[], what: string): Promise<void> {
  const { maxAbs } = difference(await got.data(), want);
  assert.ok(maxAbs < 1e-6, `${what}: differs by ${maxAbs}`);
}

cases.forEach((options, i) => {
  test(`AdamW and clipping equal PyTorch's, case ${i}`, () =>
    withoutLeaks(async () => {
      const run = new Run(options);
      for (const [step, norm] of options.norms.entries()) {
        assert.ok(Math.abs((await run.step(step)) - norm) < 1e-5 * norm, `norm of step ${step}`);
      }
      await close(run.m.value, options.m, 'the matrix');
      await close(run.v.value, options.v, 'the bias, which does not decay');
      run.dispose();
    }));
});

test('a restored optimizer continues like the saved one', () =>
  withoutLeaks(async () => {
    const [whole, first, second] = [new Run(cases[1]), new Run(cases[1]), new Run(cases[1])];
    for (const step of [0, 1, 2]) await whole.step(step);
    await first.step(0);
    second.m.replace(first.m.value.clone());
    second.v.replace(first.v.value.clone());
    const { moments, steps } = first.optimizer;
    const copies = Array.from(moments, ([name, { first, second }]): [string, Moments] => {
      return [name, { first: first.clone(), second: second.clone() }];
    });
    second.optimizer.restore(steps, copies);
    for (const step of [1, 2]) await second.step(step);
    assert.equal(await second.m.value.data(), await whole.m.value.data());
    assert.equal(await second.v.value.data(), await whole.v.value.data());
    for (const run of [whole, first, second]) run.dispose();
  }));

test('decays is called with each parameter', () =>
  withoutLeaks(async () => {
    const parameter = new Parameter('a.bias', [1]);
    parameter.load(new Float32Array([1]));
    const optimizer = new AdamW({ weightDecay: 0.5, decays: ({ name }) => name === 'a.bias' });
    const zero = tf.zeros([1]);
    optimizer.step(new Map([[parameter, zero]]), 0.1);
    await close(parameter.value, [0.95], 'decayed by rate · decay, without a gradient');
    tf.dispose(zero);
    optimizer.dispose();
    parameter.dispose();
  }));

test('gradients below the limit are not scaled', () => {
  assert.is(clipFactor(0.5, 1), 1);
  assert.is(clipFactor(0, 1), 1);
});

// A GPU program binds about ten tensors; tfjs' addN of more of them is silently wrong on webgpu.
for (const count of [0, 1, 9, 300]) {
  test(`the global norm of ${count} gradients`, () =>
    withoutLeaks(async () => {
      const gradients = Array.from({ length: count }, (_, i) => tf.fill([2, 2], i % 3)); // squares add up to 0, 4, 16
      const [norm] = (await download(globalNorm(gradients))).values;
      const squares = Array.from({ length: count }, (_, i) => 4 * (i % 3) ** 2).reduce((a, b) => a + b, 0);
      assert.ok(Math.abs(norm - Math.sqrt(squares)) <= 1e-5 * Math.sqrt(squares), `${norm} of ${Math.sqrt(squares)}`);
      tf.dispose(gradients);
    }));
}

// transformers 5.23: get_constant_schedule_with_warmup(opt, 3), get_linear_schedule_with_warmup(opt, 3, 10) and
// get_cosine_schedule_with_warmup(opt, 3, 10) at a rate of 0.5, get_last_lr() before each of ten steps.
const rates: Record<ScheduleName, number[]> = {
  constant: [0, 0.16666666666666666, 0.3333333333333333, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
  linear: [
    ...[0, 0.16666666666666666, 0.3333333333333333, 0.5, 0.42857142857142855, 0.35714285714285715],
    ...[0.2857142857142857, 0.21428571428571427, 0.14285714285714285, 0.07142857142857142],
  ],
  cosine: [
    ...[0, 0.16666666666666666, 0.3333333333333333, 0.5, 0.47524221697560476, 0.4058724504646834],
    ...[0.3056302334890786, 0.19436976651092142, 0.09412754953531663, 0.02475778302439524],
  ],
};

for (const [schedule, expected] of Object.entries(rates) as [ScheduleName, number[]][]) {
  test(`${schedule}: learning rates equal transformers'`, () => {
    const options = { schedule, learningRate: 0.5, warmupSteps: 3, totalSteps: 10 };
    expected.forEach((rate, step) => {
      const got = learningRateAt(step, options);
      assert.ok(Math.abs(got - rate) < 1e-12, `step ${step}: ${got}, expected ${rate}`);
    });
  });
}

test('a warm-up as a share is rounded up, as in transformers', () => {
  const options = { schedule: 'linear', learningRate: 0.5, warmupSteps: 0, totalSteps: 10 } as const;
  const rates = (warmupRatio: number) => rates10.map(step => learningRateAt(step, { ...options, warmupRatio }));
  const rates10 = Array.from({ length: 10 }, (_, step) => step);
  assert.equal(rates(0.21), rates(0.3));
  assert.equal(rates(0.3), rates10.map(step => learningRateAt(step, { ...options, warmupSteps: 3 }))); // biome-ignore format: one line
});

test('without warm-up a run starts at the full rate', () => {
  for (const schedule of ['constant', 'linear', 'cosine'] as const) {
    assert.is(learningRateAt(0, { schedule, learningRate: 0.5, warmupSteps: 0, totalSteps: 1 }), 0.5, schedule);
  }
});

test.run();
