/** Activation patching and sweeps: identities that hold for any weights. */
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { download } from '../../src/activations/activation.ts';
import { UsageError } from '../../src/errors.ts';
import { ablate, meanAblation, resampleAblation } from '../../src/internals/ablation.ts';
import { captureForced, forcedLogits } from '../../src/internals/forced_pass.ts';
import { answerLogProb, logitDifference, logitOf, type RowMetric } from '../../src/internals/logit_metrics.ts';
import { ablationSweep, patch, patchSweep, type SweepPlan } from '../../src/internals/patching.ts';
import { Question } from '../../src/internals/question.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { openTiny, street } from './tiny_model.ts';

const model = await openTiny();
const noise = { data: new Uint8Array(96 * 96 * 3).map((_, i) => (i * 2654435761) >>> 24), width: 96, height: 96 };
const clean = await Question.ask(model, street, '<CAPTION>', { answer: 'A green car' });
const corrupted = await Question.ask(model, noise, '<CAPTION>', { answer: clean.answerIds });
const decoder = 'language_model.decoder.layers';
const encoder = 'language_model.encoder.layers';
const features = 'multi_modal_projector.hook_image_features';
const [S, T] = [clean.positions.length, clean.answerIds.length];
/** Tests with the vision tower, which takes seconds on the cpu backend. */
const testAt = (at: string) => (testBackend === 'cpu' && at.startsWith('vision_tower') ? test.skip : test);
/** A metric that changes with any logit: a weighted sum of the first logits of all positions. */
const metric: RowMetric = logits =>
  tf.tidy(() => {
    const weights = tf.reshape(tf.range(1, T + 1), [1, T, 1]);
    return tf.sum(tf.mul(tf.slice(logits, [0, 0, 0], [-1, -1, 300]), weights), [1, 2]) as tf.Tensor1D;
  });

/** A metric that needs no answers of equal length. */
const first = logitOf(0, 5);

async function numberOf(question: Question, of: RowMetric = metric, hooked = model): Promise<number> {
  const made = tf.tidy(() => of(forcedLogits(hooked, question), clean));
  return (await download(made)).values[0];
}
const values = { clean: await numberOf(clean), corrupted: await numberOf(corrupted) };
const gap = Math.abs(values.clean - values.corrupted);
const near = (got: number, want: number, what: string, allowed = 1e-4 * gap) =>
  assert.ok(Math.abs(got - want) <= allowed, `${what}: ${got}, expected ${want} ± ${allowed}`);

test('the questions differ', () => {
  assert.ok(gap > 0.1, `only by ${gap}`);
});

for (const at of [
  'vision_tower.hook_pixels',
  'vision_tower.blocks.0.0.spatial_block.window_attn.hook_z',
  'vision_tower.blocks.3.0.channel_block.hook_resid_post',
  features,
  `${encoder}.0.self_attn.hook_pattern`,
  `${encoder}.1.hook_resid_post`,
  `${decoder}.0.encoder_attn.hook_attn_scores`,
  `${decoder}.1.encoder_attn.hook_z`,
  `${decoder}.1.hook_resid_post`,
]) {
  testAt(at)(`patching clean into clean changes nothing: ${at}`, async () => {
    await withoutLeaks(async () => {
      const same = await patch(model, { clean, corrupted: clean, at, metric });
      near(same.value, values.clean, at);
      assert.is(same.clean, same.corrupted);
    });
  });
}

for (const at of [
  'vision_tower.hook_pixels',
  'vision_tower.blocks.2.0.channel_block.hook_resid_post',
  features,
  `${encoder}.1.hook_resid_post`,
  `${decoder}.*.encoder_attn.hook_z`, // all that the decoder has of the image
  `${decoder}.1.hook_resid_post`,
]) {
  testAt(at)(`patching all of ${at} makes corrupted clean, and the other way round`, async () => {
    await withoutLeaks(async () => {
      const there = await patch(model, { clean, corrupted, at, metric });
      near(there.clean, values.clean, 'clean');
      near(there.corrupted, values.corrupted, 'corrupted');
      near(there.value, values.clean, 'patched');
      const back = await patch(model, { clean: corrupted, corrupted: clean, at, metric });
      near(back.value, values.corrupted, 'back');
    });
  });
}

test('patching all heads equals patching the point; patching some of them does not', async () => {
  await withoutLeaks(async () => {
    const at = `${decoder}.1.encoder_attn.hook_z`;
    const run = async (heads?: number[]) => (await patch(model, { clean, corrupted, at, heads, metric })).value;
    const all = await run();
    near(await run([0, 1, 2, 3]), all, 'all heads');
    const parts = [await run([0]), await run([1, 2, 3])];
    for (const part of parts) assert.ok(Math.abs(part - all) > 1e-3 * gap, `${part} of ${all}`);
  });
});

test('questions of unequal length are errors that say which is longer', async () => {
  const shorter = await Question.ask(model, noise, '<CAPTION>', { answer: 'A car' });
  const otherPrompt = await Question.ask(model, noise, 'What a long prompt this is?', { answer: clean.answerIds });
  const few = shorter.answerIds.length;
  const answers = `the answer of clean has ${T} tokens, that of corrupted ${few} tokens\\. Ask corrupted with`;
  const prompts = `of clean has ${S} positions, that of corrupted ${otherPrompt.positions.length} positions`;
  const plan = { over: 'positions', at: `${decoder}.{layer}.hook_mlp_out` } as const;
  for (const [call, message] of [
    [() => patch(model, { clean, corrupted: shorter, at: `${decoder}.0.hook_mlp_out`, metric: first }), answers],
    [() => patchSweep(model, { clean, corrupted: shorter, ...plan, metric: first }), answers],
    [
      () => patch(model, { clean, corrupted: shorter, at: features, metric: answerLogProb() }),
      `of clean has ${T} tokens, that of corrupted ${few}:`,
    ],
    [() => patch(model, { clean, corrupted: otherPrompt, at: `${encoder}.0.hook_resid_post`, metric }), prompts],
  ] as const) {
    const error = await withoutLeaks(() => call().catch(error => error));
    assert.instance(error, UsageError);
    assert.match(error.message, new RegExp(message, 'i'));
  }
  const { value } = await patch(model, { clean, corrupted: shorter, at: features, metric: first });
  assert.ok(Number.isFinite(value), 'at the features only the metric could need equal lengths');
  for (const question of [shorter, otherPrompt]) question.dispose();
});

test('a position does not affect earlier positions', async () => {
  await withoutLeaks(async () => {
    const at = `${decoder}.0.hook_resid_pre`;
    const other = await Question.ask(model, noise, '<CAPTION>', {
      answer: clean.answerIds.map((id, i) => (i === 1 ? 9 : id)),
    });
    const subject = { clean: other, corrupted, at, positions: [2] };
    for (const position of [0, 1, 2, 3]) {
      const { corrupted: before, value } = await patch(model, {
        ...subject,
        metric: logitDifference(position, 5, 700),
      });
      if (position < 2) near(value, before, `position ${position}`);
      else assert.ok(Math.abs(value - before) > 1e-4, `position ${position}`);
    }
    other.dispose();
  });
});

// ------------------------------------------------------------------------------------------------------------ sweeps

const plans: [string, SweepPlan, string[], string[]][] = [
  ['heads', { over: 'heads', at: `${decoder}.{layer}.encoder_attn.hook_z` }, ['0', '1'], ['0', '1', '2', '3']],
  [
    'some heads',
    { over: 'heads', at: `${decoder}.{layer}.self_attn.hook_v`, layers: [1], heads: [3, 1] },
    ['1'],
    ['3', '1'],
  ],
  ['keys of heads', { over: 'heads', at: `${decoder}.{layer}.encoder_attn.hook_k` }, ['0', '1'], ['0', '1', '2', '3']],
  [
    'positions of the answer',
    { over: 'positions', at: `${decoder}.{layer}.hook_resid_mid_cross` },
    ['0', '1'],
    model.tokenizer.tokenTexts(corrupted.decoderIds),
  ],
  [
    'positions of the encoder',
    { over: 'positions', at: `${encoder}.{layer}.hook_resid_pre`, layers: [1], positions: [0, 5, -1] },
    ['1'],
    [0, 5, S - 1].map(i => corrupted.positions[i]),
  ],
  [
    'one point',
    { over: 'positions', at: `${encoder}.0.hook_mlp_out`, positions: [1, 2] },
    [`${encoder}.0.hook_mlp_out`],
    ['0,0', '0,1'],
  ],
  [
    'groups of channels',
    {
      over: 'heads',
      at: 'vision_tower.blocks.{layer}.0.channel_block.channel_attn.hook_z',
      layers: [3],
      heads: [0, 1],
    },
    ['3'],
    ['0', '1'],
  ],
  [
    'heads and positions',
    { over: 'heads and positions', at: `${decoder}.1.encoder_attn.hook_z`, heads: [2, 0] },
    ['2', '0'],
    model.tokenizer.tokenTexts(corrupted.decoderIds),
  ],
  [
    'sublayers of the decoder',
    { over: 'sublayers', at: `${decoder}.{layer}` },
    ['0', '1'],
    ['hook_attn_out', 'hook_cross_attn_out', 'hook_mlp_out'],
  ],
  [
    'sublayers of one encoder layer',
    { over: 'sublayers', at: `${encoder}.{layer}`, layers: [1] },
    ['1'],
    ['hook_attn_out', 'hook_mlp_out'],
  ],
  ['patches', { over: 'patches' }, ['0', '1', '2'], ['0', '1', '2']],
  ['large patches', { over: 'patches', at: 'vision_tower.hook_pixels', patch: 2 }, ['0', '1'], ['0', '1']],
];

for (const [what, plan, rows, columns] of plans) {
  testAt(plan.at ?? '')(`a sweep over ${what} is what patching one by one gives`, async () => {
    await withoutLeaks(async () => {
      const progress: number[] = [];
      const onProgress = ({ done, total }: { done: number; total: number }) => void progress.push(done / total);
      const grid = await patchSweep(model, { clean, corrupted, metric, ...plan, batchSize: 3, onProgress });
      assert.equal([grid.rows, grid.columns], [rows, columns]);
      assert.equal(grid.shape, [rows.length, columns.length]);
      assert.is(grid.values.length, rows.length * columns.length);
      near(grid.clean, values.clean, 'clean');
      near(grid.corrupted, values.corrupted, 'corrupted');
      assert.is(progress.length, Math.ceil(grid.values.length / 3));
      assert.is(progress.at(-1), 1);
      assert.ok(
        grid.values.some(value => Math.abs(value - values.corrupted) > 1e-3 * gap),
        'nothing changes anything',
      );
      for (const [i, value] of grid.values.entries()) {
        const [row, column] = [Math.floor(i / columns.length), i % columns.length];
        const single = await patch(model, { clean, corrupted, metric, ...siteOf(plan, rows[row], row, column) });
        near(value, single.value, `${rows[row]} × ${columns[column]}`);
      }
    });
  });
}

/** Computes the site of one cell of a grid independently. */
function siteOf(
  { over, at = features, heads, positions, patch: side = 1 }: SweepPlan,
  layer: string,
  row: number,
  column: number,
) {
  const point = at.replace('{layer}', layer);
  if (over === 'heads and positions') return { at: point, heads: [heads?.[row] ?? row], positions: [column] };
  if (over === 'sublayers') {
    const sublayers = at.includes('decoder') ? ['attn', 'cross_attn', 'mlp'] : ['attn', 'mlp'];
    return { at: `${point}.hook_${sublayers[column]}_out` };
  }
  if (over === 'heads') return { at: point, heads: [heads?.[column] ?? column] };
  if (over === 'positions') return { at: point, positions: [positions?.[column] ?? column] };
  const cells = [0, 1, 2].flatMap(y => [0, 1, 2].map(x => [y, x]));
  const inside = cells.filter(([y, x]) => Math.floor(y / side) === row && Math.floor(x / side) === column);
  return { at: point, positions: inside.map(([y, x]) => 1 + 3 * y + x) };
}

test("patching a position of the last layer changes that position's logits only", async () => {
  // The logits of position t depend only on position t of the last layer's output.
  await withoutLeaks(async () => {
    const at = `${decoder}.1.hook_resid_post`;
    const one = logitDifference(2, 5, 700);
    const grid = await patchSweep(model, { clean, corrupted, over: 'positions', at, metric: one });
    for (const [t, value] of grid.values.entries())
      near(value, t === 2 ? grid.clean : grid.corrupted, `position ${t}`, 1e-4);
    assert.ok(Math.abs(grid.clean - grid.corrupted) > 1e-2);
  });
});

test('an ablation sweep equals single ablations', async () => {
  await withoutLeaks(async () => {
    const cache = captureForced(model, corrupted, '**.hook_z');
    for (const by of [undefined, meanAblation(cache), resampleAblation(cache)]) {
      const plan = { over: 'heads', at: `${decoder}.{layer}.encoder_attn.hook_z` } as const;
      const grid = await ablationSweep(model, { question: clean, metric, by, ...plan });
      near(grid.baseline, values.clean, 'baseline');
      for (const [i, value] of grid.values.entries()) {
        const site = { at: `${decoder}.${Math.floor(i / 4)}.encoder_attn.hook_z`, heads: [i % 4] };
        near(value, await numberOf(clean, metric, model.withHooks(ablate(model, site, by))), JSON.stringify(site));
      }
    }
    cache.dispose();
  });
});

test("the caller's hooks run in every row", async () => {
  await withoutLeaks(async () => {
    const hooks = ablate(model, { at: `${decoder}.0.encoder_attn.hook_z`, heads: [1] });
    const plan = { over: 'heads', at: `${decoder}.1.encoder_attn.hook_z` } as const;
    const grid = await ablationSweep(model.withHooks(hooks), { question: clean, metric, ...plan });
    const both = [...hooks, ...ablate(model, { at: plan.at, heads: [2] })];
    near(grid.values[2], await numberOf(clean, metric, model.withHooks(both)), 'head 2');
    assert.ok(Math.abs(grid.baseline - values.clean) > 1e-3 * gap);
  });
});

test('a sweep can be aborted between two passes', async () => {
  await withoutLeaks(async () => {
    const controller = new AbortController();
    let batches = 0;
    const onProgress = () => {
      if (++batches === 2) controller.abort(new Error('enough'));
    };
    const plan = { over: 'patches', batchSize: 2, onProgress, signal: controller.signal } as const;
    const error = await patchSweep(model, { clean, corrupted, metric, ...plan }).catch(error => error as Error);
    assert.is((error as Error).message, 'enough');
    assert.is(batches, 2);
  });
});

test('wrong arguments are errors without leaks', async () => {
  const longer = await Question.ask(model, noise, '<CAPTION>', { answer: 'A green car there' });
  await withoutLeaks(async () => {
    const subject = { clean, corrupted, metric };
    for (const [attempt, message] of [
      [() => patch(model, { ...subject, at: `${decoder}.1.hook_mlp` }), /Did you mean .*hook_mlp_out\?/],
      [
        () =>
          patch(model, { clean, corrupted: longer, metric: logitDifference(0, 5, 6), at: `${decoder}.1.hook_mlp_out` }),
        /the answer of clean has \d+ tokens, that of corrupted \d+/,
      ],
      [
        () => patch(model, { clean, corrupted: longer, metric: answerLogProb(), at: features }),
        /The answer has \d+ tokens, but the logits have \d+ positions/,
      ],
      [
        () => patch(model, { ...subject, at: features, metric: logits => tf.sum(logits) as unknown as tf.Tensor1D }),
        /one number per row/,
      ],
      [() => patchSweep(model, { ...subject, over: 'heads' }), /needs a hook point/],
      [() => patchSweep(model, { ...subject, over: 'heads', at: `${decoder}.{layer}.hook_mlp_out` }), /has no heads/],
      [
        () => patchSweep(model, { ...subject, over: 'heads', at: `${decoder}.{layer}.self_attn.hook_z`, layers: [7] }),
        /7\.self_attn\.hook_z/,
      ],
      [
        () => patchSweep(model, { ...subject, over: 'heads', at: `${decoder}.1.self_attn.hook_z`, layers: [0] }),
        /no \{layer\}/,
      ],
      [
        () => patchSweep(model, { ...subject, over: 'patches', at: `${decoder}.1.hook_mlp_out` }),
        /has no positions in the image/,
      ],
      [
        () => patchSweep(model, { ...subject, over: 'heads and positions', at: `${decoder}.{layer}.self_attn.hook_z` }),
        /takes a single hook point, not/,
      ],
      [
        () => patchSweep(model, { ...subject, over: 'heads and positions', at: `${decoder}.1.hook_mlp_out` }),
        /hook_mlp_out has no heads/,
      ],
      [() => patchSweep(model, { ...subject, over: 'patches', batchSize: 0 }), /batchSize/],
      [() => patchSweep(model, { ...subject, over: 'patches', patch: 0.5 }), /patch must be/],
    ] as [() => Promise<unknown>, RegExp][]) {
      const error = await attempt().catch(error => error);
      assert.instance(error, UsageError, String(message));
      assert.match((error as Error).message, message);
    }
  });
  longer.dispose();
});

test.run();
