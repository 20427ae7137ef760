/** Hooks of a loaded model: for one call, and for one step of a generation. */
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import type { StepFilter } from '../../src/hooks/filter.ts';
import { HookRegistry, noHooks, type ScopedHook } from '../../src/hooks/hooks.ts';
import { forcedLogits } from '../../src/internals/forced_pass.ts';
import { Question } from '../../src/internals/question.ts';
import { withoutLeaks } from '../backend.ts';
import { openTiny, street } from '../internals/tiny_model.ts';

const model = await openTiny();
const features = await model.encodeImage(street);
const prompt = 'What does the image describe?';
const free = { numBeams: 1, maxNewTokens: 6, forcedBosTokenId: null, forcedEosTokenId: null, noRepeatNgramSize: 0 };
const noneLeft = () => assert.is(model.hooks.root(), noHooks, 'a hook was not removed');

/** Returns the generated tokens. */
async function generate(options = {}, hooked = model): Promise<number[]> {
  const [[{ ids }]] = await hooked.generate([features], [prompt], { ...free, ...options });
  return ids.slice(1);
}

/** A token that the model does not generate here. */
const TOKEN = 77;
const say = (logits: tf.Tensor): tf.Tensor =>
  tf.add(tf.zerosLike(logits), tf.mul(tf.oneHot(TOKEN, logits.shape.at(-1)!), 50));

const clean = await generate();
assert.not.ok(clean.includes(TOKEN));
assert.is(clean.length, 6);

for (const useCache of [true, false]) {
  for (const [step, at] of [
    [0, [0]],
    [3, [3]],
    [
      [0, 4],
      [0, 4],
    ],
    [step => step % 2 === 1, [1, 3, 5]],
    [[], []],
    [99, []],
  ] as [StepFilter, number[]][]) {
    test(`step ${step} generates token ${at.join(' and ') || 'none'} of the answer, ${useCache ? 'with' : 'without'} a cache`, async () => {
      const hooked = model.withHooks([['hook_logits', say, { step }]]);
      const ids = await withoutLeaks(() => generate({ useCache }, hooked));
      at.forEach(position => {
        assert.is(ids[position], TOKEN);
      });
      const first = at[0] ?? ids.length;
      assert.equal(ids.slice(0, first), clean.slice(0, first));
      assert.is(ids.filter(id => id === TOKEN).length, at.length);
    });
  }
}

test('in beam search, each step has the rows of all beams', async () => {
  const rows: [number, number][] = [];
  const hook: ScopedHook = [
    'hook_logits',
    ({ shape }, { step }) => void rows.push([step!, shape[0]!]),
    { step: [0, 2] },
  ];
  await withoutLeaks(() => generate({ numBeams: 3 }, model.withHooks([hook])));
  assert.equal(rows, [
    [0, 3],
    [2, 3],
  ]);
});

test('a hook with a step does not run outside of generations and costs nothing at other steps', async () => {
  const hooks = new HookRegistry();
  hooks.add('**', () => {}, { step: 2 });
  assert.is(hooks.root(), noHooks);
  assert.is(hooks.root(1), noHooks);
  assert.is.not(hooks.root(2), noHooks);
  const seen = new Set<number | undefined>();
  await withoutLeaks(async () => {
    const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A car' });
    const hooked = model.withHooks([['**', (_, { step }) => void seen.add(step), { step: () => true }]]);
    forcedLogits(hooked, question, { from: 'pixels' }).dispose();
    assert.is(seen.size, 0);
    await generate({}, hooked);
    question.dispose();
  });
  assert.equal([...seen], [0, 1, 2, 3, 4, 5]);
});

test('hooks of one call run after those of the model, and only in this call', async () => {
  const seen: string[] = [];
  const note = (name: string) => () => void seen.push(name);
  const remove = model.addHook('hook_logits', note('lasting'));
  const hooks: ScopedHook[] = [
    ['hook_logits', note('first'), { step: 0 }],
    ['**.encoder.layers.0.hook_mlp_out', note('second')],
  ];
  await withoutLeaks(() => model.runWithHooks(features, '<CAPTION>', hooks, { ...free, maxNewTokens: 2 }));
  assert.equal(seen, ['second', 'lasting', 'first', 'lasting']);
  await generate({ maxNewTokens: 1 });
  assert.is(seen.at(-1), 'lasting');
  assert.is(seen.length, 5);
  remove();
  noneLeft();
});

test('hooks can be added to hooks, and those of the model also later', async () => {
  const seen: string[] = [];
  const note = (name: string): ScopedHook => ['hook_logits', () => void seen.push(name), { step: 0 }];
  const once = model.withHooks([note('once')]);
  const twice = once.withHooks([note('twice')]);
  const remove = model.addHook(...note('later'));
  await withoutLeaks(() => generate({ maxNewTokens: 2 }, twice));
  assert.equal(seen, ['later', 'once', 'twice']);
  remove();
  await generate({ maxNewTokens: 2 }, once);
  assert.equal(seen.slice(3), ['once']);
  noneLeft();
});

const fail = () => {
  throw new RangeError('mine');
};

for (const [what, body] of [
  ['throws in the vision tower', () => model.runWithHooks(street, '<OD>', [['vision_tower.blocks.0.**', fail]])],
  ['throws at a step', () => model.runWithHooks(features, '<OD>', [['**', fail, { step: 2 }]], free)],
] as [string, () => Promise<unknown>][]) {
  test(`a hook that ${what} ends the call and no other`, async () => {
    await withoutLeaks(async () => {
      const [error, ids] = await Promise.all([body().catch(error => error), generate()]);
      assert.equal(ids, clean);
      assert.is((error as Error).message, 'mine');
    });
    noneLeft();
  });
}

test('if one of several hooks cannot be added, none is', async () => {
  const wrong = [
    ['hook_logits', () => {}],
    [undefined, () => {}],
  ] as unknown as ScopedHook[];
  assert.throws(
    () => model.withHooks(wrong),
    /^Error: A filter must be|A filter must be a name, a RegExp, a function or a list of these, not undefined/,
  );
  noneLeft();
});

for (const point of ['vision_tower.convs.0.hook_embed', 'language_model.decoder.layers.1.encoder_attn.hook_pattern']) {
  test(`a replacement of another shape at ${point} is refused`, async () => {
    await withoutLeaks(async () => {
      const hooks: ScopedHook[] = [[point, x => tf.zeros([...x.shape.slice(0, -1), 7])]];
      const error = await model.runWithHooks(street, '<CAPTION>', hooks, free).catch(error => error);
      assert.instance(error, Florence2Error);
      assert.match(
        error.message,
        new RegExp(`^The hook at ${point} returned shape \\[.*,7\\], but the activation has shape`),
      );
    });
    noneLeft();
  });
}

test.run();
