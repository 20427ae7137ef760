import { execFileSync } from 'node:child_process';
import { existsSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskFolder, openFile } from '../../src/files/disk_folder.ts';
import { readLines } from '../../src/files/lines.ts';
import { readTextFile, readWholeFile } from '../../src/files/whole_file.ts';
import { decodeImage, readImageSize } from '../../src/image/decode.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';

const folder = temporaryFolder();
const path = join(folder, 'a.txt');
writeFileSync(path, '\uFEFFabc');

const lines = async (file: string) => {
  for await (const _ of readLines(file));
};

test('files are read as a whole', async () => {
  assert.equal([...(await readWholeFile(path))], [0xef, 0xbb, 0xbf, 97, 98, 99]);
  assert.is(await readTextFile(path), '\uFEFFabc');
  await refuses('too large', () => readWholeFile(path, 5), path, /has 6 bytes, more than the limit of 5\.$/);
  await refuses('a folder', () => readWholeFile(folder), folder, /it is a folder, not a file\.$/);
  const missing = join(folder, 'none');
  await refuses('missing', () => readWholeFile(missing), missing, /does not exist\.$/);
});

const special = ['/dev/zero', '/proc/self/environ', '/proc/kmsg'].filter(existsSync);
if (process.platform !== 'win32') {
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  special.push(join(folder, 'pipe'));
}
for (const file of special) {
  test(`${file.replace(folder, '')} is refused as an image, as weights and as text, without opening it`, async () => {
    const problem = /is a device, a pipe or a file of the system, not a file on a disk\.$/;
    await refuses('image', () => decodeImage(file), file, problem);
    await refuses('size', () => readImageSize(file), file, problem);
    await refuses('weights', () => openFile(file), file, problem);
    await refuses('lines', () => lines(file), file, problem);
    const [, parent, name] = file.match(/^(.*)\/([^/]+)$/)!;
    await refuses('settings', () => new DiskFolder(parent).read(name), file, problem);
  });
}

test('a file above the limit is refused before it is read', async () => {
  const large = join(folder, 'large.png');
  writeFileSync(large, '');
  truncateSync(large, 2.4e9); // sparse
  await refuses('image', () => decodeImage(large), large, /has 2400000000 bytes, more than the limit of 536870912\.$/);
  await refuses('text', () => readTextFile(large), large, /more than the limit of 500000000\.$/);
  await refuses('lines', () => lines(large), large, /line 1 is longer than the limit of 67108864 characters\.$/);
});

test('the size of an image is read again after the file has changed', async () => {
  const image = join(folder, 'image.png');
  for (const [width, height] of [
    [3, 2],
    [5, 7],
  ]) {
    const { default: sharp } = await import('sharp');
    const create = { width, height, channels: 3, background: 'red' } as const;
    writeFileSync(image, await sharp({ create }).png().toBuffer());
    assert.equal(await readImageSize(image), { width, height });
  }
});

test.run();
