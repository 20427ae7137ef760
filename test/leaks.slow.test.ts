/** Checks that a thousand answers do not increase the memory of the process. Other tests count tensors. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2 } from '../src/index.ts';
import { testBackend, withoutLeaks } from './backend.ts';
import { tinyCheckpoint } from './tiny_checkpoint.ts';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

const runs = testBackend === 'cpu' ? 200 : 1000; // half a second each
const flat = testBackend === 'webgpu' ? test.skip : test; // software WebGPU would need an hour

flat(`${runs} runs do not increase the memory of the process`, async () => {
  const model = await Florence2.load(await tinyCheckpoint(), { backend: testBackend });
  const image = { data: new Uint8Array(20 * 10 * 3).fill(90), width: 20, height: 10 };
  const options = { numBeams: 2, maxNewTokens: 3 };
  const answer = () => model.run(image, '<OD>', options);
  const settled = runs / 4;
  await withoutLeaks(async () => {
    let [before, after] = [0, 0];
    for (let run = 1; run <= runs; run++) {
      await answer();
      if (run === settled || run === runs) {
        collectGarbage();
        [before, after] = [after, process.memoryUsage.rss()];
      }
    }
    const growth = (after - before) / 1e6;
    assert.ok(growth < 0.05 * (before / 1e6), `RSS grew by ${growth.toFixed(1)} MB over ${before / 1e6} MB`);
  });
  model.dispose();
});

test.run();
