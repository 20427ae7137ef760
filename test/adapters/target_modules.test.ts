import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  endsWithPattern,
  matchModules,
  matchTargets,
  patternValue,
  type TargetOptions,
} from '../../src/adapters/target_modules.ts';
import { parseConfig } from '../../src/config/model.ts';
import { UsageError } from '../../src/errors.ts';
import { Florence2Model } from '../../src/model/florence2_model.ts';
import { hasReference, referenceJson } from '../reference.ts';

const modelOf = (variant: string) => new Florence2Model(parseConfig(referenceJson(`model/${variant}/hf/config.json`)));
const model = modelOf('tiny-pad');

/** Names of the modules with parameters in the native checkpoint, without the prefix `model.`. */
const names: { hf: string }[] = referenceJson('model/tiny-pad/names.json');
const modules = names.map(({ hf }) => hf.replace(/^model\./, '').replace(/\.[^.]*$/, ''));
/** Returns the distinct modules with a prefix whose last part is one of `ends`. */
const ending = (prefix: string, ...ends: string[]): string[] => [
  ...new Set(modules.filter(name => name.startsWith(prefix) && ends.includes(name.split('.').at(-1)!))),
];
const projections = ['q_proj', 'k_proj', 'v_proj', 'out_proj'];
const linears = [...projections, 'fc1', 'fc2', 'qkv', 'proj', 'image_projection'];

const cases: [what: string, options: TargetOptions, expected: string[]][] = [
  ['the default: the language model', {}, ending('language_model.', ...projections, 'fc1', 'fc2')],
  ['a list: ends of names', { targets: ['fc1', 'q_proj'] }, ending('', 'fc1', 'q_proj')],
  ['a list: a complete name', { targets: ['vision_tower.convs.0.conv'] }, ['vision_tower.convs.0.conv']],
  ['the head, by its name', { targets: ['lm_head'] }, ['lm_head']],
  ['all-linear: all but the head and convolutions', { targets: 'all-linear' }, ending('', ...linears)],
  ['a string matches whole names', { targets: '.*\\.fc1' }, ending('', 'fc1')],
  ['a string with alternatives', { targets: 'lm_head|.*decoder.*k_proj' }, ['lm_head', ...ending('language_model.decoder', 'k_proj')]], // biome-ignore format: one line
  ['a list excluded', { targets: ['fc1', 'fc2'], exclude: ['fc2'] }, ending('', 'fc1')],
  ['an expression excluded', { targets: ['fc1'], exclude: '^vision_tower\\..*' }, ending('language_model.', 'fc1')],
];
for (const [what, options, expected] of cases) {
  test(what, () => {
    assert.ok(expected.length > 0);
    assert.equal(matchTargets(model, options).sort(), expected.sort());
  });
}

// The recipe's other targets match no layer; PEFT ignores such targets silently.
const recipe = ['q_proj', 'k_proj', 'v_proj', 'lm_head', 'fc2'];
const counted: [name: string, targets: string | string[]][] = [
  ['basic', ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc2']],
  ['recipe', recipe],
  ['vision', '.*vision_tower\\.convs\\.\\d+\\.conv|.*_attn\\.(qkv|proj)'],
  ['rslora', ['q_proj', 'v_proj', 'fc2']],
];
const check = hasReference('model/tiny/lora') ? test : test.skip;
check('adapts as many layers as PEFT', () => {
  const tiny = modelOf('tiny');
  for (const [name, targets] of counted) {
    const { adapted_modules } = referenceJson(`model/tiny/lora/${name}/expected.json`);
    assert.is(matchTargets(tiny, { targets }).length, adapted_modules, name);
  }
});

const refused: [what: string, options: TargetOptions, message: RegExp][] = [
  ['a misspelt entry', { targets: ['q_porj'] }, /nothing is named q_porj\. .*: (q_proj|k_proj|v_proj)/],
  ['one of several entries', { targets: ['q_proj', 'o_proj', 'fc2'] }, /nothing is named o_proj\. .*out_proj/],
  ['part of a word', { targets: ['c1'] }, /nothing is named c1\. .*fc1/],
  ['a misspelt path', { targets: ['decoder.layers.0.self_atn.q_proj'] }, /decoder\.layers\.0\.self_attn\.q_proj/],
  ['a string that matches only a part of names', { targets: 'q_proj' }, /no name matches q_proj/],
  ['a name with the prefix used in files', { targets: ['model.language_model.encoder.layers.0.fc1'] }, /: .*language_model\.encoder\.layers\.0\.fc1/], // biome-ignore format: one line
  ['a layer norm', { targets: ['norm1'] }, /Linear and Conv2d/],
  ['a depthwise convolution', { targets: ['conv1'] }, /Linear and Conv2d/],
  ['an invalid expression', { targets: '(q_proj' }, /"\(q_proj" is not a regular expression/],
  ['everything excluded', { targets: ['fc1'], exclude: ['fc1'] }, /There is no layer to adapt/],
  ['no targets', { targets: [] }, /There is no layer to adapt/],
  ['a misspelt exclusion', { exclude: ['fc_1'] }, /nothing is named fc_1\. .*fc1/],
];
for (const [what, options, message] of refused) {
  test(`refused: ${what}`, () => {
    assert.throws(
      () => matchTargets(model, options),
      (error: Error) => error instanceof UsageError && message.test(error.message),
    );
  });
}

test('modules to save: their parameters without buffers', () => {
  assert.equal(matchModules(model, ['lm_head']), ['lm_head.weight']);
  const projector = matchModules(model, ['multi_modal_projector']);
  assert.ok(projector.includes('multi_modal_projector.image_projection.weight'));
  assert.not.ok(projector.some(name => name.includes('pos_idx_to_embed')));
  const norm = 'language_model.decoder.layers.0.final_layer_norm';
  assert.equal(matchModules(model, ['decoder.layers.0.final_layer_norm']), [`${norm}.weight`, `${norm}.bias`]);
  assert.throws(() => matchModules(model, ['classifier']), /nothing is named classifier/);
  assert.throws(() => matchModules(model, ['weight']), /nothing is named weight/);
});

test('rank patterns match the end of a name after a dot; the first match is used', () => {
  const name = 'language_model.encoder.layers.10.fc1';
  assert.is(patternValue({ c1: 1, 'layers.0.fc1': 2, 'layers\\.\\d+\\.fc1': 3, fc1: 4 }, name), 3);
  assert.is(patternValue({ fc2: 1 }, name), undefined);
  assert.ok(endsWithPattern('^language_model.encoder.layers.10.fc1', name));
  assert.ok(endsWithPattern('fc1|fc2', name));
  assert.not.ok(endsWithPattern('^encoder.layers.10.fc1', name));
});

test('a pattern that never ends is stopped', () => {
  const start = performance.now();
  assert.throws(
    () => patternValue({ '((q|q)+)+x': 4 }, 'q'.repeat(60)),
    (error: Error) =>
      /^The patterns \["\(\(q\|q\)\+\)\+x"\] of the adapter take more than a second to match q{60}\.$/.test(
        error.message,
      ),
  );
  assert.ok(performance.now() - start < 5000);
});

test.run();
