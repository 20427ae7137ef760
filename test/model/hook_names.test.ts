import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import type { HookFilter, HookFn, HookOptions } from '../../src/hooks/hooks.ts';
import { ablate } from '../../src/internals/ablation.ts';
import { hookPoints, pointsOf } from '../../src/internals/hook_points.ts';
import { Question } from '../../src/internals/question.ts';
import { steer } from '../../src/internals/steering.ts';
import { withoutLeaks } from '../backend.ts';
import { openTiny, street } from '../internals/tiny_model.ts';

const model = await openTiny();
const vector = tf.scalar(0);

test('the names are those of a pass', async () => {
  const question = await Question.ask(model, street, '<CAPTION>', { maxNewTokens: 2 });
  const asked = ['**', '**.hook_result', '**.hook_scale', '**.hook_normalized'];
  const all = await withoutLeaks(() => pointsOf(model, question, asked));
  assert.equal([...model.model.hookNames].sort(), all.map(({ name }) => name).sort());
  const listed = await withoutLeaks(() => hookPoints(model, street, '<CAPTION>', { maxNewTokens: 2 }));
  const names = listed.map(({ name }) => name);
  assert.equal(names, all.map(({ name }) => name).filter(name => !/hook_(result|scale|normalized)$/.test(name))); // biome-ignore format: one line
  question.dispose();
});

const layer = 'language_model.decoder.layers.0';
const wrong: [filter: HookFilter, message: RegExp][] = [
  [`${layer}.hook_mlp`, /is named .*hook_mlp\. Did you mean \S+0\.hook_mlp_out\?$/],
  ['hook_z', /is named hook_z\. Did you mean \*\*\.hook_z\?$/],
  ['hook_logit', /Did you mean hook_logits\?$/],
  [
    'language_model.decoder.layers.*.hook_residpost',
    /Did you mean language_model\.decoder\.layers\.0\.hook_resid_post\?$/,
  ],
  ['WRONG', /^No hook point of the model is named WRONG\. Did you mean \S+, \S+ or \S+\?$/],
  [['hook_logits', 'hook_logit'], /is named hook_logit\. Did you mean hook_logits\?$/],
  [/hook_logit$/, /is named \/hook_logit\$\/\.$/],
  [() => false, /matches the given predicate\.$/],
];

test('hooks at points that do not exist are refused', async () => {
  const fn = () => {};
  for (const [filter, message] of wrong) {
    const hooks = [
      () => model.addHook(filter, fn),
      () => model.withHooks([[filter, fn]]),
      () => model.runWithHooks(street, '<OD>', [[filter, fn]]),
    ];
    for (const call of [
      ...(typeof filter === 'function' ? [] : hooks), // the predicate of a hook may match no point
      () => ablate(model, { at: filter }),
      () => steer(model, { at: filter }, vector),
    ]) {
      const error = await refusal(call);
      assert.is(error.code, 'UNKNOWN_HOOK_POINT');
      assert.match(error.message, message);
    }
  }
});

test('hooks that are no functions, unknown options and fields of sites are refused', async () => {
  for (const [call, message] of [
    [
      () => model.addHook('hook_logits', 5 as unknown as HookFn),
      /^The function of a hook must be a function, not 5\.$/,
    ],
    [
      () => model.addHook('hook_logits', () => {}, { steps: 1 } as HookOptions),
      /^A hook has no option steps\. Did you mean step\?$/,
    ],
    [() => ablate(model, { at: `${layer}.hook_mlp_out`, head: [1] } as never), /option head\. Did you mean heads\?$/],
    [() => ablate(model, { at: `${layer}.hook_mlp_out`, positions: 3 } as never), /^positions must be a list of/],
  ] as const) {
    assert.match((await refusal(call)).message, message);
  }
});

test('asynchronous hooks are refused', async () => {
  const late = (async () => {}) as unknown as HookFn;
  for (const readOnly of [true, false]) {
    for (const point of ['vision_tower.convs.0.hook_embed', 'hook_logits']) {
      const error = await withoutLeaks(() =>
        refusal(() => model.runWithHooks(street, '<OD>', [[point, late, { readOnly }]], { maxNewTokens: 2 })),
      );
      assert.match(error.message, new RegExp(`^The hook at ${point} is asynchronous; a hook returns a tensor`));
    }
  }
});

/** Returns the error of a call, which may be asynchronous. */
async function refusal(call: () => unknown): Promise<UsageError> {
  const error = await (async () => call())().then(
    () => assert.unreachable('no error'),
    error => error,
  );
  assert.instance(error, UsageError, String(error.stack));
  return error;
}

test.after(() => model.dispose());
test.run();
