import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskFolder } from '../../src/files/disk_folder.ts';
import { recoverFolder, replaceFolder, writeWhole } from '../../src/files/write.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const fill = (text: string) => (folder: string) => writeFile(join(folder, 'file'), text);
const read = (folder: string) => readFileSync(join(folder, 'file'), 'utf8');

/** Creates the folders that a killed process leaves, by name, each with a file of this text. */
function leave(states: Record<string, string>): string {
  const parent = temporaryFolder();
  for (const [name, text] of Object.entries(states)) {
    mkdirSync(join(parent, name));
    writeFileSync(join(parent, name, 'file'), text);
  }
  return parent;
}

test('a folder is replaced as a whole, and no temporary folder remains', async () => {
  const parent = temporaryFolder();
  const folder = join(parent, 'latest');
  await replaceFolder(folder, fill('1'));
  assert.is(read(folder), '1');
  await replaceFolder(folder, async unfinished => {
    await writeFile(join(unfinished, 'other'), '');
    assert.is(read(folder), '1', 'the old folder stays until the new one is complete');
    await fill('2')(unfinished);
  });
  assert.is(read(folder), '2');
  assert.equal(readdirSync(parent), ['latest']);
});

const message = (write: Promise<unknown>): Promise<string> => write.then(() => assert.unreachable(), error => error.message); // biome-ignore format: one line

test('errors name the file that was asked for, not a temporary one', async () => {
  const parent = temporaryFolder();
  writeFileSync(join(parent, 'file'), '');
  const [inFile, latest] = [join(parent, 'file/a.png'), join(parent, 'latest')];
  assert.is(await message(writeWhole(inFile, new Uint8Array())), `${inFile} cannot be written: its folder is a file.`);
  assert.is(await message(replaceFolder(join(parent, 'file/latest'), fill('1'))), `${join(parent, 'file/latest')} cannot be written: its folder is a file.`); // biome-ignore format: one line
  const inside = async (unfinished: string) => {
    await fill('1')(unfinished);
    await writeWhole(join(unfinished, 'file/a'), new Uint8Array());
  };
  assert.is(await message(replaceFolder(latest, inside)), `${join(latest, 'file/a')} cannot be written: its folder is a file.`); // biome-ignore format: one line
  const folder = new DiskFolder(latest);
  const files = new Map([['a', new Uint8Array()], ['a/b', new Uint8Array()]]); // biome-ignore format: one line
  assert.is(await message(folder.writeAll(files)), `${join(latest, 'a/b')} cannot be written: its folder is a file.`);
  assert.equal(readdirSync(parent), ['file']);
});

const onLinux = existsSync('/proc/self') ? test : test.skip;

onLinux('a folder that takes no files is called so', async () => {
  const path = '/proc/florence2.png';
  assert.is(await message(writeWhole(path, new Uint8Array())), `${path} cannot be written: its folder takes no new files.`); // biome-ignore format: one line
  const inNew = '/proc/florence2/a/b.png';
  assert.is(await message(writeWhole(inNew, new Uint8Array())), `${inNew} cannot be written: its folder does not exist.`); // biome-ignore format: one line
  const full = '/dev/full/a.png';
  assert.is(await message(writeWhole(full, new Uint8Array())), `${full} cannot be written: its folder is a file.`);
});

test('a failed write changes nothing', async () => {
  const parent = temporaryFolder();
  const folder = join(parent, 'latest');
  await replaceFolder(folder, fill('1'));
  const failing = replaceFolder(folder, async unfinished => {
    await fill('2')(unfinished);
    throw new Error('disk full');
  });
  const message = await failing.then(
    () => 'no error was thrown',
    error => error.message,
  );
  assert.is(message, 'disk full');
  assert.is(read(folder), '1');
  assert.equal(readdirSync(parent), ['latest']);
});

const moments: [when: string, left: Record<string, string>, expected: string][] = [
  ['while writing', { latest: 'old', '.latest.part': 'ne' }, 'old'],
  ['while writing the first version', { '.latest.part': 'ne' }, ''],
  ['between the two renames', { '.latest.old': 'old', '.latest.part': 'new' }, 'old'],
  ['before the old folder is removed', { latest: 'new', '.latest.old': 'old' }, 'new'],
];
for (const [when, left, expected] of moments) {
  test(`killed ${when}: recovery leaves a complete folder or none`, async () => {
    const parent = leave(left);
    await recoverFolder(join(parent, 'latest'));
    assert.equal(readdirSync(parent), expected ? ['latest'] : []);
    if (expected) assert.is(read(join(parent, 'latest')), expected);
  });
}

test('files of an unfinished folder are not kept by the next save', async () => {
  const parent = leave({ '.latest.part': 'rest' });
  renameSync(join(parent, '.latest.part', 'file'), join(parent, '.latest.part', 'stale'));
  await replaceFolder(join(parent, 'latest'), fill('1'));
  assert.equal(readdirSync(join(parent, 'latest')), ['file']);
});

test.run();
