/**
 * The engine of export.ts: ONNX Runtime on the models of an export for transformers.js.
 *
 *     node bench/peers/exported.mjs FOLDER CONFIG MODULES [SUFFIX]
 *
 * FOLDER contains onnx/*.onnx, MODULES has node_modules with onnxruntime-node. SUFFIX is that of a type, such as
 * _quantized. Runs one job for each line on stdin: vision, encoder or token, { seconds }, and { peakRss } in MB when
 * stdin ends.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const [folder, config, modules, suffix = ''] = process.argv.slice(2);
const require = createRequire(join(modules, 'package.json'));
const ort = require('onnxruntime-node');
const {
  d_model,
  decoder_layers,
  decoder_attention_heads: heads,
} = JSON.parse(readFileSync(config, 'utf8')).text_config;
const say = message => console.log(JSON.stringify(message));
const open = name =>
  ort.InferenceSession.create(join(folder, `onnx/${name}${suffix}.onnx`), { intraOpNumThreads: cpus().length });
const vision = await open('vision_encoder');
const encoder = await open('encoder_model');
const decoder = await open('decoder_model_merged');

const side = 768;
const floats = (dims, value) => new ort.Tensor('float32', Float32Array.from({ length: dims.reduce((n, d) => n * d, 1) }, value), dims); // biome-ignore format: one line
const wave = (_, i) => Math.sin(i);
const pixels = floats([1, 3, side, side], wave);
const { image_features: features } = await vision.run({ pixel_values: pixels });
const [, positions] = features.dims;
const mask = count => new ort.Tensor('int64', new BigInt64Array(count).fill(1n), [1, count]);
const fitting = (session, inputs) => Object.fromEntries(Object.entries(inputs).filter(([name]) => session.inputNames.includes(name))); // biome-ignore format: one line

const encoderInputs = fitting(encoder, { inputs_embeds: features, attention_mask: mask(positions) });
const { last_hidden_state: states } = await encoder.run(encoderInputs);
const memory = { encoder_hidden_states: states, encoder_attention_mask: mask(positions) };
const word = floats([1, 1, d_model], wave);
const layers = Array.from({ length: decoder_layers }, (_, i) => i);
const parts = kind => layers.flatMap(i => ['key', 'value'].map(part => `${i}.${kind}.${part}`));
const empty = () => floats([1, heads, 0, d_model / heads], wave);
const step = (past, cached) =>
  decoder.run(fitting(decoder, { inputs_embeds: word, ...memory, ...past, use_cache_branch: new ort.Tensor('bool', [cached], [1]) })); // biome-ignore format: one line

/** Returns the caches after a step. Those of cross-attention are the first step's. */
const after = (past, present, cached) => ({
  ...past,
  ...Object.fromEntries(parts('decoder').map(name => [`past_key_values.${name}`, present[`present.${name}`]])),
  ...(cached
    ? {}
    : Object.fromEntries(parts('encoder').map(name => [`past_key_values.${name}`, present[`present.${name}`]]))),
});

const TOKENS = 30;
const jobs = {
  vision: async () => void (await vision.run({ pixel_values: pixels })),
  encoder: async () => void (await encoder.run(encoderInputs)),
  async token() {
    let past = Object.fromEntries(
      [...parts('decoder'), ...parts('encoder')].map(name => [`past_key_values.${name}`, empty()]),
    );
    past = after(past, await step(past, false), false);
    const start = performance.now();
    for (let i = 0; i < TOKENS; i++) past = after(past, await step(past, true), true);
    return (performance.now() - start) / TOKENS;
  },
};

say({ ready: true });
for await (const job of createInterface({ input: process.stdin })) {
  const start = performance.now();
  const milliseconds = await jobs[job]();
  say({ milliseconds: milliseconds ?? performance.now() - start });
}
say({ peakRss: process.resourceUsage().maxRSS / 1000 });
