/**
 * Our side of train.ts: a Trainer that takes one step for each line on stdin.
 *
 *     tsx bench/train_ours.ts CHECKPOINT lora|full BATCH STEPS BACKEND
 *
 * An epoch has STEPS steps, each with new images; later epochs repeat them. Prints JSON: { ready }, then { loss,
 * seconds } for each step, and { peakRss } in MB when stdin ends.
 */
import { mkdtempSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Florence2 } from '../src/index.ts';
import type { BackendName } from '../src/runtime/backend.ts';
import type { TrainerOptions } from '../src/training/options.ts';
import { Trainer } from '../src/training/trainer.ts';
import { trainingExample } from './train_example.ts';

const [checkpoint, kind, batch, steps, backend] = process.argv.slice(2);
const batchSize = Number(batch);
const output = mkdtempSync(join(tmpdir(), 'florence2-bench-run-'));
const say = (message: object) => writeSync(1, `${JSON.stringify(message)}\n`);

const kinds: Record<string, Partial<TrainerOptions>> = {
  lora: { lora: { r: 8 } },
  full: { freeze: [], gradientCheckpointing: true },
};

const florence = await Florence2.load(checkpoint, { backend: backend as BackendName });
const example = await trainingExample(florence.preprocessor);

const train = { name: 'one image, repeated', length: Number(steps) * batchSize, example: async () => example };
let start = 0;

/** Waits until the next step is requested. Stops the whole process, which must not compute in the other side's turn. */
function awaitRequest(): void {
  if (readByte() === 0) {
    say({ peakRss: process.resourceUsage().maxRSS / 1000 });
    rmSync(output, { recursive: true, force: true });
    process.exit();
  }
  start = performance.now();
}

/** Returns the number of bytes read: 0 at the end of stdin, else 1. */
function readByte(): number {
  for (;;) {
    try {
      return readSync(0, Buffer.alloc(1));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5); // nothing yet: look again in 5 ms
    }
  }
}

const trainer = new Trainer(florence, {
  pictures: false,
  ...kinds[kind],
  ...{ output, train, batchSize, epochs: 1000, saveEvery: 1e9, dropout: false, schedule: 'constant' },
  onStep: ({ loss }) => {
    say({ loss, seconds: (performance.now() - start) / 1000 });
    awaitRequest();
  },
});

say({ ready: true });
awaitRequest();
await trainer.run();
