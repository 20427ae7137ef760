/**
 * Our side of train.ts: a Trainer that takes one step for each line on stdin.
 *
 *     tsx bench/train_ours.ts CHECKPOINT lora|full BATCH STEPS BACKEND
 *
 * An epoch has STEPS steps, each with new images; later epochs repeat them. Prints JSON: { ready }, then { loss,
 * seconds } for each step, and { peakRss } in MB when stdin ends.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Florence2 } from '../src/index.ts';
import type { BackendName } from '../src/runtime/backend.ts';
import type { TrainerOptions } from '../src/training/options.ts';
import { Trainer } from '../src/training/trainer.ts';
import { trainingExample } from './train_example.ts';

const [checkpoint, kind, batch, steps, backend] = process.argv.slice(2);
const batchSize = Number(batch);
const output = mkdtempSync(join(tmpdir(), 'florence2-bench-run-'));
const say = (message: object) => console.log(JSON.stringify(message));

const kinds: Record<string, Partial<TrainerOptions>> = {
  lora: { lora: { r: 8 } },
  full: { freeze: [], gradientCheckpointing: true },
};

const florence = await Florence2.load(checkpoint, { backend: backend as BackendName });
const example = await trainingExample(florence.preprocessor);

let read = 0; // number of examples read
let asked = 0; // number of steps requested
let start = 0;
const commands = createInterface({ input: process.stdin });
const train = {
  name: 'one image, repeated',
  length: Number(steps) * batchSize,
  /** Waits until the example's step is requested, because the trainer reads ahead. */
  async example() {
    const step = Math.floor(read++ / batchSize);
    while (step >= asked) await once(commands, 'line');
    return example;
  },
};
const trainer = new Trainer(florence, {
  pictures: false,
  ...kinds[kind],
  ...{ output, train, batchSize, epochs: 1000, saveEvery: 1e9, dropout: false, schedule: 'constant' },
  onStep: ({ loss }) => say({ loss, seconds: (performance.now() - start) / 1000 }),
});

commands.on('line', () => {
  start = performance.now();
  asked++;
});
commands.on('close', () => {
  say({ peakRss: process.resourceUsage().maxRSS / 1000 });
  rmSync(output, { recursive: true, force: true });
  process.exit();
});
say({ ready: true });
await trainer.run();
