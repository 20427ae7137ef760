/** Attribution patching against activation patching: equal on a linear part, to first order elsewhere. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { attributionPatch } from '../../src/internals/attribution.ts';
import { answerLogProb, logitOf } from '../../src/internals/logit_metrics.ts';
import { patchSweep, type SweepPlan } from '../../src/internals/patching.ts';
import { Question } from '../../src/internals/question.ts';
import { withoutLeaks } from '../backend.ts';
import { openTiny } from './tiny_model.ts';

const test = suite('attribution patching');
const model = await openTiny();
test.after(() => model.dispose());

/** An image of noise in which each value differs by up to `step` from that of step 0. */
const noise = (step: number) => ({
  data: new Uint8Array(96 * 96 * 3).map((_, i) => 100 + ((i * 2654435761) >>> 27) + step * ((i * 40503) & 1)),
  width: 96,
  height: 96,
});
const ask = (step: number, answer: string) => Question.ask(model, noise(step), '<CAPTION>', { answer });
const decoder = 'language_model.decoder.layers';
const encoder = 'language_model.encoder.layers';

test('it equals patching where the metric is linear in the activation', () =>
  withoutLeaks(async () => {
    const [clean, corrupted] = [await ask(40, 'A green car'), await ask(0, 'A green car')];
    const subject = { clean, corrupted, metric: logitOf(2, 50) };
    const plan = { over: 'positions', at: 'hook_logits' } as const;
    const [estimated, patched] = [await attributionPatch(model, { ...subject, ...plan }), await patchSweep(model, { ...subject, ...plan })]; // biome-ignore format: one line
    assert.equal(estimated.columns, patched.columns);
    assert.equal([estimated.clean, estimated.corrupted], [patched.clean, patched.corrupted]);
    assert.ok(Math.abs(patched.clean - patched.corrupted) > 1e-3);
    patched.values.forEach((value, i) => {
      assert.ok(
        Math.abs(estimated.values[i] - value) < 1e-5,
        `position ${i}: ${estimated.values[i]}, patched ${value}`,
      );
    });
    for (const question of [clean, corrupted]) question.dispose();
  }));

for (const plan of [
  { over: 'heads', at: `${decoder}.{layer}.encoder_attn.hook_z` },
  { over: 'positions', at: `${encoder}.{layer}.hook_resid_post` },
  { over: 'heads', at: `${encoder}.{layer}.self_attn.hook_v`, layers: [1], heads: [2, 0] },
  { over: 'patches' },
] as SweepPlan[]) {
  test(`it approaches patching as the questions become equal: ${plan.over} ${plan.at ?? ''}`, () =>
    withoutLeaks(async () => {
      const corrupted = await ask(0, 'A green car');
      const misses: number[] = [];
      for (const step of [8, 1]) {
        const clean = await ask(step, 'A green car');
        const subject = { clean, corrupted, metric: answerLogProb() };
        const patched = await patchSweep(model, { ...subject, ...plan });
        const estimated = await attributionPatch(model, { ...subject, ...plan });
        const effects = patched.values.map(value => value - patched.corrupted);
        const guesses = estimated.values.map(value => value - estimated.corrupted);
        const size = Math.hypot(...effects);
        misses.push(Math.hypot(...effects.map((effect, i) => guesses[i] - effect)) / size);
        assert.equal(estimated.rows, patched.rows);
        assert.equal(estimated.columns, patched.columns);
        clean.dispose();
      }
      const [far, close] = misses;
      assert.ok(close < 0.2 && close < 0.5 * far, `relative to the effects it misses ${misses}`);
      corrupted.dispose();
    }));
}

test('wrong options are errors', () =>
  withoutLeaks(async () => {
    const [clean, corrupted] = [await ask(4, 'A car'), await ask(0, 'A green car')];
    const plan = { over: 'positions', at: `${decoder}.{layer}.hook_mlp_out` } as const;
    const error = await attributionPatch(model, { clean, corrupted, metric: logitOf(0, 5), ...plan }).catch(e => e);
    assert.instance(error, UsageError);
    assert.match(error.message, /the answer of clean has \d+ tokens/);
    for (const question of [clean, corrupted]) question.dispose();
  }));

test.run();
