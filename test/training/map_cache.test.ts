import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Florence2 } from '../../src/florence2.ts';
import { MapCache, type MapStore } from '../../src/training/map_cache.ts';
import type { TrainerOptions } from '../../src/training/options.ts';
import { withoutLeaks } from '../backend.ts';
import { dataset, learnerCheckpoint, logic, newFolder, sameLosses, trainOn, withLearner } from './learner.ts';

for (const store of ['memory', 'disk'] as const) {
  test(`${store}: maps are restored exactly, up to the size limit`, () =>
    withoutLeaks(async () => {
      const folder = newFolder();
      const cache = new MapCache(store, folder, 2 * 24, assert.unreachable);
      const maps = [0, 1, 2].map(n =>
        tf.tensor3d(
          [1, 2, 3, 4, 5, 6].map(x => x / 7 + n),
          [1, 2, 3],
        ),
      );
      for (const [i, map] of maps.entries()) await cache.write(String(i), map);
      assert.equal(
        [0, 1, 2].map(i => cache.has(String(i))),
        [true, true, false],
        'the third is beyond the limit',
      );
      assert.is(cache.size, 2);
      const again = await cache.read('1');
      assert.equal(again.shape, [1, 2, 3]);
      assert.equal(await again.data(), await maps[1].data());
      assert.is(existsSync(folder), store === 'disk');
      await cache.dispose();
      assert.not.ok(existsSync(folder));
      assert.not.ok(cache.has('1'));
      tf.dispose([again, ...maps]);
    }));
}

const checkpoint = await learnerCheckpoint();

/** Records the number of images of each pass of the vision tower. */
function countPasses({ model: { executor } }: Florence2): number[] {
  const passes: number[] = [];
  const visionMap = executor.visionMap.bind(executor);
  executor.visionMap = (pixels, h) => {
    passes.push(pixels.shape[0]);
    return visionMap(pixels, h);
  };
  return passes;
}

const runs: { store: MapStore; bytes?: number; passes: number[] }[] = [
  { store: 'off', passes: [2, 1, 1, 2, 1, 1, 2, 1, 1] },
  { store: 'memory', passes: [2, 1, 1] },
  { store: 'disk', passes: [2, 1, 1] },
  { store: 'disk', bytes: 2 * 4 * 2 * 2 * 16, passes: [2, 1, 1, 1, 1, 1, 1] },
];
const losses: number[][] = [];
for (const { store, bytes, passes } of runs) {
  logic(`later epochs do not run the vision tower: ${store}${bytes ? ', limited to two images' : ''}`, () =>
    withoutLeaks(() =>
      withLearner(checkpoint, async florence => {
        const counted = countPasses(florence);
        const output = newFolder();
        const while_: string[][] = [];
        const options: Partial<TrainerOptions> = {
          ...{ output, featureCache: store, featureCacheBytes: bytes, lora: { r: 2 } },
          ...{ train: dataset(3), valid: dataset(1, { seed: 9 }), epochs: 3, batchSize: 2 },
          onStep: () => while_.push(existsSync(join(output, 'maps')) ? readdirSync(join(output, 'maps')) : []),
        };
        const run = await trainOn(florence, options as TrainerOptions);
        losses.push(run.losses);
        assert.equal(counted, passes, 'images of each pass: steps of 2 and 1, then a validation, in each epoch');
        assert.is(while_.at(-1)!.length, store !== 'disk' ? 0 : bytes ? 2 : 4, 'files during the run');
        assert.not.ok(existsSync(join(output, 'maps')), 'the folder is removed at the end');
      }),
    ),
  );
}

test('losses are the same with and without cache', () => {
  for (const other of losses) sameLosses(other, losses[0]);
});

logic('examples of one image file share a map', () =>
  withLearner(checkpoint, async florence => {
    const counted = countPasses(florence);
    const image = fileURLToPath(new URL('../../docs/pictures/street.jpg', import.meta.url));
    const answers = ['a street', 'a car'];
    const example = (i: number) => ({
      image,
      source: 'street',
      targets: [{ task: '<CAPTION>', answer: answers[i % 2] }],
    });
    await trainOn(florence, { train: { name: 'street', length: 4, example }, epochs: 2, lora: { r: 2 } });
    assert.equal(counted, [1]);
  }),
);

logic('nothing is cached with augmentation', () =>
  withLearner(checkpoint, async florence => {
    const counted = countPasses(florence);
    await trainOn(florence, { train: dataset(1), epochs: 3, lora: { r: 2 }, augment: { brightness: 0.5 } });
    assert.equal(counted, [1, 1, 1]);
  }),
);

test.run();
