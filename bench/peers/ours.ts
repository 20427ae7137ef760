/**
 * The engine of peers.ts for this package.
 *
 *     tsx bench/peers/ours.ts CHECKPOINT PICTURE
 *
 * Runs one job for each line on stdin; see job.ts.
 */
import { createInterface } from 'node:readline';
import * as tf from '@tensorflow/tfjs';
import { Florence2, noHooks } from '../../src/index.ts';
import { useBackend } from '../../src/runtime/backend.ts';
import type { Job } from './job.ts';

const [checkpoint, picture] = process.argv.slice(2);
const say = (message: object) => console.log(JSON.stringify(message));

const { description } = await useBackend('tensorflow');
let start = performance.now();
const seconds = () => (performance.now() - start) / 1000;
const model = await Florence2.load(checkpoint, { backend: 'tensorflow' });
say({ load: seconds(), engine: 'florence2-tfjs', backend: description, node: process.version });

const { width, height } = model.preprocessor;
const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (31 * i) % 251);
const image = await model.encodeImage({ data: pixels, width, height });
const prompt = 'What does the image describe?'; // ten tokens
const settings = (beams: number, maxNewTokens: number) => ({ numBeams: beams, maxNewTokens, noRepeatNgramSize: 0 });

const jobs: Record<Job['what'], (job: Job) => Promise<object>> = {
  async vision({ batch }) {
    const input = tf.ones([batch, height, width, 3]) as tf.Tensor4D;
    start = performance.now();
    const features = model.model.encodeImage(input, noHooks);
    await tf.tidy(() => tf.sum(features)).data();
    const done = { seconds: seconds() };
    tf.dispose([input, features]);
    return done;
  },
  async encoder({ batch }) {
    const features = tf.tile(image.tensor, [batch, 1, 1]);
    const ids = tf.fill([batch, 10], 100, 'int32') as tf.Tensor2D;
    start = performance.now();
    const { states } = model.model.encodePrompt(features, ids, null, noHooks);
    await tf.tidy(() => tf.sum(states)).data();
    const done = { seconds: seconds() };
    tf.dispose([features, ids, states]);
    return done;
  },
  async decode({ batch, tokens = 60, beams = 1 }) {
    const [features, prompts] = [Array(batch).fill(image), Array(batch).fill(prompt)];
    start = performance.now();
    await model.generate(features, prompts, settings(beams, 1));
    const prefill = seconds();
    start = performance.now();
    const [[{ ids }]] = await model.generate(features, prompts, settings(beams, tokens));
    return { seconds: (seconds() - prefill) / (tokens - 1), ids: ids.slice(1) };
  },
  async file({ tokens = 50, beams = 1 }) {
    start = performance.now();
    await model.run(picture, '<CAPTION>', settings(beams, tokens));
    return { seconds: seconds() };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line) as Job;
  say(await jobs[job.what](job));
}
say({ peakRss: process.resourceUsage().maxRSS / 1000 });
