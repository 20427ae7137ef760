import { readFileSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskFolder } from '../../src/files/disk_folder.ts';
import { recoverFolder, replaceFolder, writeWhole } from '../../src/files/write.ts';
import { randomStream } from '../../src/random.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { RecordedDisk, type Remains, restore } from './recorded_disk.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Ways to choose among the lists of names of each folder: all old, all new, and ten random ones. */
const choices = (event: number): ((lists: number) => number)[] => [
  () => 0,
  lists => lists - 1,
  ...Array.from({ length: 10 }, (_, i) => {
    const random = randomStream(i, 'power cut', event);
    return (lists: number) => Math.floor(random() * lists);
  }),
];

/** Runs a program and calls `check` with everything that a power cut at each event could leave. */
async function atEveryCut(
  program: (folder: string) => Promise<void>,
  check: (left: Remains) => unknown,
): Promise<number> {
  const folder = temporaryFolder();
  const disk = new RecordedDisk(folder);
  const cuts: Remains[] = [];
  let events = 0;
  disk.onEvent = () => {
    for (const choose of choices(events)) cuts.push(disk.afterPowerCut(choose));
    events++;
  };
  await disk.record(() => program(folder));
  for (const left of cuts) await check(left);
  return events;
}

const replayed = temporaryFolder();
let replays = 0;

/** Puts what is left into a new folder. */
function restored(left: Remains): string {
  const folder = join(replayed, String(replays++));
  restore(left, folder);
  return folder;
}

test('a file written whole is the old one or the new one after a power cut', async () => {
  const seen = new Set<string>();
  await atEveryCut(
    async folder => {
      await writeWhole(join(folder, 'a/b/file'), bytes('one'));
      await writeWhole(join(folder, 'a/b/file'), bytes('two'));
    },
    left => {
      const content = left.get('a/b/file');
      if (content) seen.add(Buffer.from(content).toString());
    },
  );
  assert.equal([...seen].sort(), ['one', 'two']);
});

test('what was written before a call returned is there after a later power cut', async () => {
  const folder = temporaryFolder();
  const disk = new RecordedDisk(folder);
  await disk.record(async () => {
    await writeWhole(join(folder, 'a/b/file'), bytes('one'));
    await new DiskFolder(join(folder, 'c/new')).writeAll(new Map([['x', bytes('1')]]));
    await replaceFolder(join(folder, 'd/latest'), unfinished => writeFile(join(unfinished, 'state'), 'two'));
  });
  for (const choose of choices(0)) {
    const left = disk.afterPowerCut(choose);
    for (const [path, content] of Object.entries({ 'a/b/file': 'one', 'c/new/x': '1', 'd/latest/state': 'two' })) {
      assert.is(Buffer.from(left.get(path) ?? bytes('missing')).toString(), content, path);
    }
  }
});

test('a replaced folder is the old one or the new one, complete, after a power cut and recovery', async () => {
  const ends = new Set<string>();
  const events = await atEveryCut(
    async folder => {
      for (const round of ['1', '2', '3']) {
        await replaceFolder(join(folder, 'latest'), async unfinished => {
          await writeFile(join(unfinished, 'state.json'), `state ${round}`);
          await writeWhole(join(unfinished, 'deep/weights'), bytes(`weights ${round}`));
        });
      }
    },
    async left => {
      if (![...left.keys()].some(path => /^\.?latest(\.old)?\//.test(path))) return; // before the first is complete
      const folder = restored(left);
      await recoverFolder(join(folder, 'latest'));
      const state = readFileSync(join(folder, 'latest/state.json'), 'utf8');
      const weights = readFileSync(join(folder, 'latest/deep/weights'), 'utf8');
      assert.is(weights, state.replace('state', 'weights'));
      ends.add(state);
      rmSync(folder, { recursive: true });
    },
  );
  assert.ok(events > 30, `${events} events`);
  assert.equal([...ends].sort(), ['state 1', 'state 2', 'state 3']);
});

test.run();
