import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { recoverFolder } from '../../src/files/write.ts';
import { randomStream } from '../../src/random.ts';
import { KeptSaves } from '../../src/training/kept_saves.ts';
import { readLog } from '../../src/training/log/run_log.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { withoutLeaks } from '../backend.ts';
import { RecordedDisk, type Remains, restore } from '../files/recorded_disk.ts';
import { dataset, learnerCheckpoint, logic, newFolder, train } from './learner.ts';

/** Puts what a power cut left of a run into a new folder and recovers it. Returns the step that it resumes from. */
async function resumedStep(left: Remains): Promise<number> {
  const folder = newFolder();
  restore(left, folder);
  const output = join(folder, 'run');
  const latest = join(output, 'latest');
  await recoverFolder(latest);
  await new KeptSaves(output, 2).recover(latest);
  const { step } = JSON.parse(readFileSync(join(latest, 'training_state.json'), 'utf8'));
  assert.ok(JSON.parse(readFileSync(join(latest, 'adapter_config.json'), 'utf8')).r, 'the adapter is complete');
  for (const name of ['adapter_model.safetensors', 'training_state.safetensors']) {
    await (await openSafetensors(join(latest, name))).close();
  }
  const logged = await readLog(join(output, 'metrics.jsonl'));
  const steps = logged.filter(({ kind }) => kind === 'step').map(({ step }) => step);
  assert.equal(
    steps.slice(0, step),
    Array.from({ length: step }, (_, i) => i + 1),
    'the log has every step before it',
  );
  return step;
}

for (const [keepLast, epochs] of [
  [1, 3],
  [2, 2],
])
  logic(
    `keeping ${keepLast}: a power cut at any moment leaves a run that resumes, never from before a completed save`,
    async () => {
      const parent = newFolder();
      mkdirSync(parent);
      const output = join(parent, 'run'); // created by the run, so its name must be flushed too
      const disk = new RecordedDisk(parent);
      const cuts: Remains[][] = [];
      disk.onEvent = () => {
        const random = randomStream(cuts.length, 'power cut');
        const ways = [() => 0, (lists: number) => lists - 1, (lists: number) => Math.floor(random() * lists)];
        cuts.push(ways.map(choose => disk.afterPowerCut(choose)));
      };
      const folder = await learnerCheckpoint();
      const options = { train: dataset(2), valid: dataset(1), epochs, saveEvery: 1, keepLast, lora: { r: 2 }, output };
      await withoutLeaks(async () => (await disk.record(() => train(folder, options))).florence.dispose());
      let least = 0;
      const seen = new Set<number>();
      for (const ways of cuts) {
        const saved = ways.filter(left =>
          [...left.keys()].some(path => /^run\/(\.?latest(\.old)?|step-\d+)\//.test(path)),
        );
        if (least === 0 && saved.length < ways.length) continue; // the first save is not complete
        assert.is(saved.length, ways.length, 'a save that was there is gone');
        const steps = await Promise.all(saved.map(resumedStep));
        assert.ok(Math.min(...steps) >= least, `resumes from ${Math.min(...steps)}, after a save of ${least}`);
        least = Math.min(...steps);
        for (const step of steps) seen.add(step);
      }
      assert.equal(
        [...seen].sort(),
        Array.from({ length: 2 * epochs }, (_, i) => i + 1),
      );
      assert.is(least, 2 * epochs);
    },
  );

test.run();
