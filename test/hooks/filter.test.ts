import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type HookFilter, matcher, type StepFilter, stepMatcher } from '../../src/hooks/filter.ts';

const layer = 'language_model.decoder.layers.1';
const mlp = `${layer}.hook_mlp_out`;
const pattern = `${layer}.encoder_attn.hook_pattern`;
const logits = 'hook_logits';
const all = [mlp, pattern, logits];

for (const [filter, fits] of [
  [mlp, [mlp]],
  ['hook_mlp_out', []],
  ['language_model.decoder.layers.*.hook_mlp_out', [mlp]],
  ['language_model.decoder.layers.*', []], // `*` matches one part, and the names have more
  ['language_model.*.hook_mlp_out', []],
  ['language_model.**', [mlp, pattern]],
  ['**.hook_mlp_out', [mlp]],
  ['**.hook_logits', [logits]], // `**` matches no part
  ['**.hook_*', all],
  ['**', all],
  ['*', [logits]],
  [`${layer}.**.hook_mlp_out`, [mlp]],
  [`${layer}.**.hook_pattern`, [pattern]],
  ['**attn**', [pattern]],
  ['**.layers.?.hook_mlp_out', [mlp]],
  ['**.layers?1.hook_mlp_out', []], // `?` does not match a dot
  ['language_model+decoder*', []],
  ['hook_logit(s)?', []], // other characters match themselves
  [/hook_mlp/g, [mlp]],
  [/attn\.hook/, [pattern]],
  [(name: string) => name.endsWith('s'), [logits]],
  [
    [logits, '**.encoder_attn.*', [/nothing/]],
    [pattern, logits],
  ],
  [[], []],
] as [HookFilter, string[]][]) {
  test(`filter ${typeof filter === 'function' ? filter : String(filter)}`, () => {
    const matches = matcher(filter);
    for (let again = 0; again < 2; again++) assert.equal(all.filter(matches), fits); // regular expressions with a lastIndex
  });
}

for (const [filter, fits] of [
  [undefined, [undefined, 0, 1, 2, 3]],
  [0, [0]],
  [2, [2]],
  [
    [0, 3],
    [0, 3],
  ],
  [[], []],
  [step => step > 1, [2, 3]],
] as [StepFilter | undefined, (number | undefined)[]][]) {
  test(`steps ${typeof filter === 'function' ? filter : JSON.stringify(filter)}`, () => {
    assert.equal([undefined, 0, 1, 2, 3].filter(stepMatcher(filter)), fits);
  });
}

test.run();
