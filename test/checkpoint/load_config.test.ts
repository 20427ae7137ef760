import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadConfig } from '../../src/checkpoint/load_config.ts';
import { openFolder } from '../../src/platform/node.ts';
import { reference } from '../reference.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';

const root = temporaryFolder();
let folders = 0;

function folderOf(files: Record<string, string> = {}): string {
  const folder = join(root, `config${folders++}`);
  mkdirSync(folder);
  copyFileSync(reference('model/tiny-pad/microsoft/config.json'), join(folder, 'config.json'));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

const size = (side: number) => JSON.stringify({ size: { height: side, width: side } });

test("missing files take Florence-2's own settings", async () => {
  const bare = await loadConfig(openFolder(folderOf()));
  assert.is(bare.config.text.dModel, 48);
  assert.equal(bare.generation, {});
  assert.is(bare.preprocessor.height, 768);
  const cases: [files: Record<string, string>, side: number][] = [
    [{ 'preprocessor_config.json': size(96) }, 96],
    [{ 'processor_config.json': `{"image_processor":${size(64)}}` }, 64],
    [{ 'processor_config.json': '{"processor_class":"Florence2Processor"}' }, 768],
    [{ 'preprocessor_config.json': size(96), 'processor_config.json': `{"image_processor":${size(64)}}` }, 96],
    [{ 'preprocessor_config.json': `\uFEFF${size(32)}` }, 32],
  ];
  for (const [files, side] of cases)
    assert.is((await loadConfig(openFolder(folderOf(files)))).preprocessor.width, side, JSON.stringify(files));
  const { generation } = await loadConfig(openFolder(folderOf({ 'generation_config.json': '{"num_beams": 5}' })));
  assert.equal(generation, { numBeams: 5 });
});

test('errors name the file', async () => {
  const cases: [files: Record<string, string>, file: string, problem: RegExp][] = [
    [{ 'config.json': '' }, 'config.json', /is not JSON/],
    [{ 'config.json': '{"model_type": "florence2",}' }, 'config.json', /is not JSON/],
    [{ 'config.json': 'null' }, 'config.json', /holds null, expected an object/],
    [{ 'config.json': '[1]' }, 'config.json', /holds \[1\], expected an object/],
    [{ 'config.json': '<html>\n<body>' }, 'config.json', /is not JSON/],
    [{ 'generation_config.json': '3' }, 'generation_config.json', /holds 3, expected an object/],
    [{ 'generation_config.json': '{"num_beams": "many"}' }, 'generation_config.json', /num_beams is "many"/],
    [{ 'preprocessor_config.json': '{' }, 'preprocessor_config.json', /is not JSON/],
    [{ 'preprocessor_config.json': '{"size": -1}' }, 'preprocessor_config.json', /size is -1, expected a whole number/],
    [
      { 'processor_config.json': '{"image_processor": 3}' },
      'processor_config.json',
      /image_processor is 3, expected an object/,
    ],
  ];
  for (const [files, file, problem] of cases) {
    const folder = folderOf(files);
    await refuses(JSON.stringify(files), () => loadConfig(openFolder(folder)), join(folder, file), problem);
  }
  const empty = join(root, 'empty');
  mkdirSync(empty);
  await refuses(
    'an empty folder',
    () => loadConfig(openFolder(empty)),
    empty,
    /has no config\.json, so it is not a Florence-2/,
  );
  await refuses('no folder', () => loadConfig(openFolder(join(root, 'no'))), join(root, 'no'), /is not a folder/);
  mkdirSync(join(empty, 'config.json'));
  await refuses(
    'a folder named config.json',
    () => loadConfig(openFolder(empty)),
    'config.json',
    /is a folder, not a file/,
  );
});

test.run();
