/**
 * The engine of peers.ts for onnxruntime-node, with the models of export_onnx.py.
 *
 *     node bench/peers/onnxruntime.mjs FOLDER CONFIG PICTURE
 *
 * FOLDER contains the models and node_modules with onnxruntime-node. Runs one job for each line on stdin; see job.ts.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import sharp from 'sharp';

const [folder, config, picture] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const ort = require('onnxruntime-node');
const text = JSON.parse(readFileSync(config, 'utf8')).text_config;
const heads = text.decoder_attention_heads;
const size = text.d_model / heads;
const parts = Array.from({ length: text.decoder_layers }, (_, i) => [`key_${i}`, `value_${i}`]).flat();
const say = message => console.log(JSON.stringify(message));

let start = performance.now();
const seconds = () => (performance.now() - start) / 1000;
const open = name => ort.InferenceSession.create(join(folder, name), { intraOpNumThreads: cpus().length });
const [vision, embedding, encoder, cross, decoder] = [
  await open('onnx/vision_encoder.onnx'),
  await open('onnx/embed_tokens.onnx'),
  await open('onnx/encoder_model.onnx'),
  await open('cross.onnx'),
  await open('decoder.onnx'),
];
const { version } = require('onnxruntime-node/package.json');
say({ load: seconds(), engine: 'ONNX Runtime', 'onnxruntime-node': version, node: process.version });

const side = 768;
const floats = (data, dims) => new ort.Tensor('float32', data, dims);
const longs = (values, dims) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims);
const repeated = (tensor, batch) => {
  const data = new Float32Array(batch * tensor.data.length);
  for (let b = 0; b < batch; b++) data.set(tensor.data, b * tensor.data.length);
  return floats(data, [batch, ...tensor.dims.slice(1)]);
};

/** Returns pixel values [batch, 3, side, side] from the bytes of an image. */
function normalised(bytes, batch) {
  const [mean, std] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ];
  const plane = side * side;
  const data = new Float32Array(batch * 3 * plane);
  for (let b = 0; b < batch; b++)
    for (let c = 0; c < 3; c++)
      for (let i = 0; i < plane; i++) data[(b * 3 + c) * plane + i] = (bytes[3 * i + c] / 255 - mean[c]) / std[c];
  return floats(data, [batch, 3, side, side]);
}

const pattern = Uint8Array.from({ length: 3 * side * side }, (_, i) => (31 * i) % 251);
const { image_features: features } = await vision.run({ pixel_values: normalised(pattern, 1) });
// The token ids of "What does the image describe?".
const prompt = JSON.parse(process.env.PROMPT_IDS);

async function encode(features, ids) {
  const [B, N, D] = features.dims;
  const { inputs_embeds: words } = await embedding.run({ input_ids: longs(ids, [1, ids.length]) });
  const embeds = new Float32Array(B * (N + ids.length) * D);
  for (let b = 0; b < B; b++) {
    embeds.set(features.data.subarray(b * N * D, (b + 1) * N * D), b * (N + ids.length) * D);
    embeds.set(words.data, (b * (N + ids.length) + N) * D);
  }
  return (await encoder.run({ inputs_embeds: floats(embeds, [B, N + ids.length, D]) })).last_hidden_state;
}

/**
 * Decodes equal rows greedily, starting with token 2. Returns the first row's tokens. Sets `start` after the first
 * step.
 */
async function decode(states, tokens) {
  const [B] = states.dims;
  const memory = await cross.run({ states });
  let past = Object.fromEntries(parts.map(part => [`past_${part}`, floats(new Float32Array(), [B, heads, 0, size])]));
  let newest = Array(B).fill(2);
  const ids = [];
  for (let position = 0; position < tokens; position++) {
    if (position === 1) start = performance.now();
    const { logits, ...present } = await decoder.run({
      ids: longs(newest, [B, 1]),
      position: longs([position], [1]),
      ...memory,
      ...past,
    });
    const [, V] = logits.dims;
    newest = newest.map((_, b) => highest(logits.data, b * V, V));
    if (position === 0) newest.fill(0); // Florence-2 forces <s> first
    ids.push(newest[0]);
    past = Object.fromEntries(parts.map(part => [`past_${part}`, present[`present_${part}`]]));
  }
  return ids;
}

function highest(values, from, count) {
  let best = from;
  for (let i = from; i < from + count; i++) if (values[i] > values[best]) best = i;
  return best - from;
}

const jobs = {
  async vision({ batch }) {
    const pixels = normalised(pattern, batch);
    start = performance.now();
    await vision.run({ pixel_values: pixels });
    return { seconds: seconds() };
  },
  async encoder({ batch }) {
    const input = repeated(features, batch);
    start = performance.now();
    await encode(input, Array(10).fill(100));
    return { seconds: seconds() };
  },
  async decode({ batch, tokens = 60, beams = 1 }) {
    const states = repeated(await encode(features, prompt), batch * beams);
    const ids = await decode(states, tokens);
    return { seconds: seconds() / (tokens - 1), ids };
  },
  async file({ tokens = 50, beams = 1 }) {
    const began = performance.now();
    const bytes = await sharp(picture)
      .resize(side, side, { fit: 'fill', kernel: 'cubic' })
      .removeAlpha()
      .raw()
      .toBuffer();
    const { image_features: features } = await vision.run({ pixel_values: normalised(bytes, 1) });
    const states = repeated(await encode(features, prompt), beams);
    await decode(states, tokens);
    return { seconds: (performance.now() - began) / 1000 };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  say(await jobs[job.what](job));
}
say({ peakRss: process.resourceUsage().maxRSS / 1000 });
