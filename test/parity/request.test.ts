/** Tests that a dump's image and task are preprocessed to its pixels and ids. A slow test in test/tools compares complete dumps. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkParity } from '../../src/parity/check.ts';
import type { DumpedRequest } from '../../src/parity/manifest.ts';
import type { TensorRow } from '../../src/parity/report.ts';
import type { TensorToWrite } from '../../src/weights/safetensors.ts';
import { openSafetensors, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { testBackend as backend, withoutLeaks } from '../backend.ts';
import { writeAnsweringCheckpoint } from '../internals/answering_checkpoint.ts';
import { reference, referenceJson } from '../reference.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';

const image = 'cmyk.jpg';
const asked = '<CAPTION_TO_PHRASE_GROUNDING>';
const side = 96;

/** Creates a dump with only inputs: Pillow's pixels and the ids of Microsoft's processor, changed by `edit`. */
async function dumpOf(request: unknown, edit: (pixels: Float32Array, ids: number[]) => void = () => {}) {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'checkpoint'));
  await writeAnsweringCheckpoint(join(folder, 'checkpoint'), 'car');
  copyFileSync(reference(`processor/images/${image}`), join(folder, image));
  const { text, ids } = question();
  const pixels = await pillowPixels();
  edit(pixels, ids);
  const tensors: TensorToWrite[] = [
    { name: 'pixel_values', shape: [1, 3, side, side], data: pixels },
    { name: 'text_input_ids', shape: [1, ids.length], dtype: 'I64', data: Int32Array.from(ids) },
  ];
  await writeSafetensors(join(folder, 'inputs.safetensors'), tensors);
  const manifest = {
    checkpoints: { 'checkpoint/model.safetensors': { dtype: 'float32' } },
    files: { 'inputs.safetensors': tensors.map(({ name, shape }) => ({ name, shape })) },
    request: request ?? { image, task: asked, text },
  };
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
  return folder;
}

function question(): { text: string; ids: number[] } {
  const { cases } = referenceJson('processor/prompts.json');
  const found = cases.find(({ text }: { text: string }) => text.startsWith(asked));
  return { text: found.text.slice(asked.length), ids: [...found.input_ids] };
}

/** Returns Pillow's pixels, normalised by ImageNet's mean and deviation, [3, H, W] */
async function pillowPixels(): Promise<Float32Array> {
  const { info } = referenceJson('processor/images.json');
  const resized = await openSafetensors(reference('processor/resized_rgb_u8.safetensors'));
  const levels = await resized.readFloat32(`${image}/${side}x${side}`); // [H, W, 3]
  await resized.close();
  const pixels = new Float32Array(levels.length);
  levels.forEach((level, i) => {
    const [channel, position] = [i % 3, Math.floor(i / 3)];
    pixels[channel * side * side + position] = (level / 255 - info.mean[channel]) / info.std[channel];
  });
  return pixels;
}

const rowsOf = async (folder: string): Promise<TensorRow[]> => {
  const { variants } = await withoutLeaks(() => checkParity(folder, { backend }));
  return variants[0].checkpoints[0].tensors;
};

test("the image and the task are preprocessed to the dump's pixels and ids", async () => {
  const rows = await rowsOf(await dumpOf(undefined));
  assert.equal(rows.map(({ name, equal }) => [name, equal]), [['pixel_values', true], ['text_input_ids', true]]); // biome-ignore format: one line
});

for (const [what, edit, departs, problem] of [
  [
    'a pixel that differs by one level',
    (pixels: Float32Array) => {
      pixels[77] += 1 / 255 / 0.229;
    },
    'pixel_values',
    undefined,
  ],
  [
    'a different token',
    (_: unknown, ids: number[]) => {
      ids[2] += 1;
    },
    'text_input_ids',
    undefined,
  ],
  [
    'a longer prompt',
    (_: unknown, ids: number[]) => {
      ids.push(2);
    },
    'text_input_ids',
    /has shape \[1,\d+\], expected/,
  ],
] as [string, (pixels: Float32Array, ids: number[]) => void, string, RegExp | undefined][]) {
  // biome-ignore format: a table
  test(`${what} is noticed`, async () => {
    const rows = await rowsOf(await dumpOf(undefined, edit));
    const wrong = rows.filter(({ equal }) => !equal);
    assert.equal(wrong.map(({ name, firstDeparture }) => [name, firstDeparture]), [[departs, true]]); // biome-ignore format: one line
    if (problem) assert.match(wrong[0].problem!, problem);
  });
}

test('an invalid request is an error of one line', async () => {
  const check = async (request: Partial<DumpedRequest>) => checkParity(await dumpOf(request), { backend });
  await refuses('no task', () => check({ image }), 'manifest.json', /request is .*expected an image and a task/);
  await refuses('no image', () => check({ image: 'none.png', task: '<OD>' }), 'none.png', /does not exist/);
  await refuses('no text', () => check({ image, task: asked }), asked, /needs a text/);
});

test.run();
