/**
 * The engine of peers.ts for transformers.js, with the models of export_onnx.py.
 *
 *     node bench/peers/transformersjs.mjs FOLDER PICTURE
 *
 * FOLDER contains the models and node_modules with @huggingface/transformers. Runs one job for each line on stdin; see
 * job.ts.
 */
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [folder, picture] = process.argv.slice(2);
const require = createRequire(join(folder, 'package.json'));
const { AutoImageProcessor, AutoTokenizer, Florence2ForConditionalGeneration, RawImage, Tensor, env } = await import(
  pathToFileURL(require.resolve('@huggingface/transformers'))
);
env.allowRemoteModels = false;
env.localModelPath = '';
const say = message => console.log(JSON.stringify(message));

let start = performance.now();
const seconds = () => (performance.now() - start) / 1000;
const session_options = { intraOpNumThreads: cpus().length };
const model = await Florence2ForConditionalGeneration.from_pretrained(folder, { dtype: 'fp32', session_options });
const processor = await AutoImageProcessor.from_pretrained(folder);
await AutoTokenizer.from_pretrained(folder);
const load = seconds();
say({ load, engine: 'transformers.js', '@huggingface/transformers': env.version, node: process.version });

const { height, width } = processor.size;
const pattern = Uint8ClampedArray.from({ length: 3 * height * width }, (_, i) => (31 * i) % 251);
const image = new RawImage(pattern, width, height, 3);
const prompt = JSON.parse(process.env.PROMPT_IDS);

const longs = (values, dims) => new Tensor('int64', BigInt64Array.from(values, BigInt), dims);
/** Generates greedily from images and the same prompt for each. `streamer.put` is called for each token. */
async function answer(images, tokens, streamer) {
  const { pixel_values } = await processor(images);
  const dims = [images.length, prompt.length];
  const input_ids = longs(images.flatMap(() => prompt), dims); // biome-ignore format: one line
  const attention_mask = longs(Array(dims[0] * dims[1]).fill(1), dims);
  const settings = { max_new_tokens: tokens, num_beams: 1, no_repeat_ngram_size: 0, streamer };
  return model.generate({ pixel_values, input_ids, attention_mask, ...settings });
}

const jobs = {
  async vision({ batch }) {
    const { pixel_values } = await processor(Array(batch).fill(image));
    start = performance.now();
    await model.encode_image({ pixel_values });
    return { seconds: seconds() };
  },
  async decode({ batch, tokens = 60 }) {
    const times = [];
    // `put` is called for the initial </s>, then for each token.
    const clock = { put: () => times.push(performance.now()), end() {} };
    const { data } = await answer(Array(batch).fill(image), tokens, clock);
    const ids = Array.from(data.slice(1, tokens + 1), Number);
    return { seconds: (times[tokens] - times[1]) / 1000 / (tokens - 1), ids };
  },
  async file({ tokens = 50 }) {
    start = performance.now();
    await answer([await RawImage.read(picture)], tokens);
    return { seconds: seconds() };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  say(await jobs[job.what](job));
}
say({ peakRss: process.resourceUsage().maxRSS / 1000 });
