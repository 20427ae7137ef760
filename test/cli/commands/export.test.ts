import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2 } from '../../../src/florence2.ts';
import { learnerCheckpoint, loadLearner, picture } from '../../training/learner.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { florence2 } from '../florence2.ts';

const folder = temporaryFolder();
const model = await learnerCheckpoint('microsoft');
const adapter = join(folder, 'adapter');
const learner = await loadLearner(model);
const { layers } = learner.adapters.create('a', { r: 1, targets: ['fc1', 'q_proj'] });
for (const { b } of layers.values()) b.load(new Float32Array(b.shape[0]).fill(0.3));
await learner.adapters.save('a', adapter);
const adapted = (await learner.run(picture(1), '<CAPTION>', { numBeams: 1 })).answer;
const plain = (await learner.run(picture(1), '<CAPTION>', { numBeams: 1, adapter: null })).answer;
learner.dispose();

const commands = (out: string) => [
  ['export', '--safetensors', out, '--layout', 'native'],
  ['merge', out, '--layout', 'microsoft', '--dtype', 'fp16'],
];
for (const [i, command] of commands('out').entries()) {
  test(`${command[0]} writes a checkpoint that answers like model and adapter`, async () => {
    assert.is.not(adapted, plain, 'the adapter changes the answer');
    const out = join(folder, `${command[0]}`);
    const args = [...commands(out)[i], '-m', model, '--adapter', adapter, '-b', 'wasm'];
    const { code, stderr } = await florence2(...args);
    assert.is(code, 0, stderr);
    assert.match(stderr, /Wrote .*\.\n$/);
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
    assert.equal([config.dtype, config.torch_dtype], i === 0 ? ['float32', undefined] : [undefined, 'float16']);
    const saved = await Florence2.load(out, { backend: 'wasm' });
    assert.is((await saved.run(picture(1), '<CAPTION>', { numBeams: 1 })).answer, adapted);
    saved.dispose();
    const again = await florence2(...args);
    assert.equal([again.code, /is not empty/.test(again.stderr)], [2, true], again.stderr);
  });
}

test('export --onnx writes the models and the settings that transformers.js reads', async () => {
  const out = join(folder, 'onnx');
  const { code, stderr } = await florence2(
    ...['export', '--onnx', out, '--dtype', 'fp32, q8', '-b', 'wasm'],
    '-m',
    model,
  );
  assert.is(code, 0, stderr);
  const models = ['decoder_model_merged', 'embed_tokens', 'encoder_model', 'vision_encoder'];
  assert.equal(
    readdirSync(join(out, 'onnx')),
    models.flatMap(name => ['', '_quantized'].flatMap(type => [`${name}${type}.onnx`, `${name}${type}.onnx_data`])),
  );
  const settings = ['config', 'generation_config', 'preprocessor_config', 'tokenizer', 'tokenizer_config'];
  assert.equal(
    readdirSync(out).filter(name => name !== 'onnx'),
    settings.map(name => `${name}.json`),
  );
});

test('wrong flags are refused before a model is loaded', async () => {
  const cases: [args: string[], message: RegExp][] = [
    [['export', '-m', model], /What to write is required: give --safetensors or --onnx/],
    [['export', '-m', model, '--onnx', join(folder, 'x'), '--layout', 'native'], /--layout is for checkpoints/],
    [
      ['export', '-m', model, '--onnx', join(folder, 'x'), '--dtype', 'fp32,bf16'],
      /must be fp32, fp16 or q8, not "bf16"/,
    ],
    [['merge', join(folder, 'x'), '-m', model, '--dtype', 'fp32,fp16'], /must be fp32, fp16 or bf16, not "fp32,fp16"/],
    [['export', '--safetensors', join(folder, 'x'), '--dtype', 'q8', '-m', model], /must be fp32, fp16 or bf16/],
    [['merge', '-m', model], /out/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await florence2(...args);
    assert.is(code, 2, stderr);
    assert.match(stderr, message);
  }
  assert.not.ok(existsSync(join(folder, 'x')));
});

test.run();
