import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createLora } from '../../../src/adapters/lora.ts';
import { writeAdapter } from '../../../src/adapters/write.ts';
import { loadConfig } from '../../../src/checkpoint/load_config.ts';
import { Florence2 } from '../../../src/florence2.ts';
import { Florence2Model } from '../../../src/model/florence2_model.ts';
import { openFolder } from '../../../src/platform/node.ts';
import { withoutLeaks } from '../../leaks.ts';
import { tinyCheckpoint } from '../../tiny_checkpoint.ts';
import { florence2 } from '../florence2.ts';

const tiny = await tinyCheckpoint();
const pictures = fileURLToPath(new URL('../../../docs/pictures', import.meta.url));
const street = join(pictures, 'street.jpg');
const folder = await mkdtemp(join(tmpdir(), 'florence2-cli-'));

/** `florence2 run` with a tiny checkpoint and short answers. One backend is enough to test the command. */
const run = (...args: string[]) =>
  withoutLeaks(() => florence2('run', '-m', tiny, '-b', 'wasm', '--max-new-tokens', '12', ...args));

const jsonLines = (text: string) => text.trim().split('\n').map(line => JSON.parse(line)); // biome-ignore format: one line

test('prints one JSON object per image and task', async () => {
  const { code, stdout } = await run(street, join(pictures, 'sign.jpg'), '-t', 'od', '-t', '<CAPTION>', '--json');
  assert.is(code, 0);
  const lines = jsonLines(stdout);
  assert.equal(
    lines.map(({ image, task }) => [image, task]),
    [
      [street, '<OD>'],
      [street, '<CAPTION>'],
      [join(pictures, 'sign.jpg'), '<OD>'],
      [join(pictures, 'sign.jpg'), '<CAPTION>'],
    ],
  );
  assert.equal(lines[0].imageSize, { width: 768, height: 512 });
});

test('--classes filters object detection and is the text of open-vocabulary detection', async () => {
  const scene = fileURLToPath(new URL('../../../docs/scenes/scene-1.png', import.meta.url));
  const of = async (...args: string[]) => {
    const { stdout } = await florence2('run', scene, '-m', 'demo', '-b', 'wasm', '--beams', '1', '--json', ...args);
    return jsonLines(stdout).map(({ boxes }) => boxes.map(({ label }: { label: string }) => label));
  };
  const [all] = await of('-t', 'od');
  assert.ok(all.includes('green star') && all.includes('green circle'), String(all));
  assert.equal(await of('-t', 'od', '--classes', 'Green Star, zebra'), [['green star']]);
  const [kept, asked] = await of('-t', 'od', '-t', 'ovd', '--classes', 'green star');
  assert.equal(kept, ['green star']);
  assert.ok(asked.includes('green star'), String(asked));
});

test('JSON has coordinates rounded to 0.01 pixel, and data URLs without their data', async () => {
  const scene = await readFile(new URL('../../../docs/scenes/scene-1.png', import.meta.url));
  const url = `data:image/png;base64,${scene.toString('base64')}`;
  const asked = ['-m', 'demo', '-b', 'wasm', '-t', 'od', '-t', 'ocr-with-region'];
  const { stdout } = await florence2('run', url, ...asked, '--json');
  const [{ image, boxes }] = jsonLines(stdout);
  assert.is(image, 'data:image/png;base64,…');
  assert.ok(boxes.length > 0);
  const [exact] = (await exactBoxes(scene)).map(({ box }) => box);
  assert.equal(boxes[0].box, exact.map(value => Number(value.toFixed(2)))); // biome-ignore format: one line
  assert.not.equal(boxes[0].box, exact);
  const { stdout: text } = await florence2('run', url, `${url}=`, ...asked);
  assert.match(text, /^data:image\/png;base64,… {2}<OD>$/m);
  assert.not.match(text, /base64,\w/);
});

async function exactBoxes(image: Uint8Array) {
  const model = await Florence2.load('demo', { backend: 'wasm' });
  const { boxes } = await model.run(image, '<OD>');
  model.dispose();
  return boxes;
}

test('--tiles: the answer of a program with tiles', async () => {
  const scene = 'docs/scenes/scene-1.png';
  const asked = ['-m', 'demo', '-b', 'wasm', '-t', 'od', '--beams', '1', '--json'];
  const { stdout } = await florence2('run', scene, ...asked, '--tiles', '96', '--overlap', '0.5');
  const model = await Florence2.load('demo', { backend: 'wasm' });
  const result = await model.run(scene, '<OD>', { tiles: { size: 96, overlap: 0.5 }, numBeams: 1 });
  model.dispose();
  assert.is(jsonLines(stdout)[0].answer, result.answer);
  assert.is(result.answer.split('\n').length, 5);
  for (const [args, message] of [
    [['-t', 'caption', '--tiles', '96'], /<CAPTION> is answered in words/],
    [['-t', 'od', '--overlap', '0.5'], /--overlap is that of --tiles/],
  ] as [string[], RegExp][]) {
    assert.match((await florence2('run', scene, '-m', 'demo', ...args)).stderr, message);
  }
});

test('--layout: the text in reading order, without another task', async () => {
  const scene = 'docs/scenes/scene-3.png';
  const run = (...args: string[]) => florence2('run', scene, '-m', 'demo', '-b', 'wasm', ...args);
  const [{ quads }] = jsonLines((await run('-t', 'ocr-with-region', '--json')).stdout);
  assert.ok(quads.length > 0);
  const words = quads.map(({ text }: { text: string }) => text);
  assert.is((await run('--layout', 'text')).stdout, `${words.join(' ')}\n`);
  const [page] = jsonLines((await run('--layout', 'json')).stdout);
  assert.is(page.image, scene);
  assert.equal(page.blocks[0].lines[0].regions.map(({ quad }: { quad: number[] }) => quad), quads.map(({ quad }: { quad: number[] }) => quad)); // biome-ignore format: one line
  assert.match((await run('--layout', 'hocr')).stdout, new RegExp(`<span class="ocrx_word"[^>]*>${words[0]}</span>`));
  assert.match((await run('--layout', 'alto')).stdout, new RegExp(`CONTENT="${words[0]}"/>`));
  assert.match((await run('--layout', 'text', '-t', 'ocr')).stderr, /--layout is for --task ocr-with-region alone/);
  assert.match((await run('docs/scenes/scene-1.png', '--layout', 'alto')).stderr, /document of one image, but there are 2/); // biome-ignore format: one line
});

test('--orientation apply: upright for the model, places in the stored image; --apply-orientation is the same', async () => {
  const scene = 'docs/scenes/scene-1.png';
  const turned = join(folder, 'turned.png');
  await sharp(await sharp(scene).rotate(-90).png().toBuffer())
    .withMetadata({ orientation: 6 })
    .png()
    .toFile(turned);
  const run = (path: string, ...args: string[]) => florence2('run', path, '-m', 'demo', '-b', 'wasm', '-t', 'od', '--json', ...args); // biome-ignore format: one line
  const boxes = async (outcome: ReturnType<typeof run>) => jsonLines((await outcome).stdout)[0].boxes.map(({ box }: { box: number[] }) => box); // biome-ignore format: one line
  const upright = await boxes(run(scene));
  const expected = upright.map(([x1, y1, x2, y2]: number[]) => [y1, 128 - x2, y2, 128 - x1].map(v => Number(v.toFixed(2)))); // biome-ignore format: one line
  assert.ok(expected.length > 0);
  assert.equal(await boxes(run(turned, '--orientation', 'apply')), expected);
  assert.equal(await boxes(run(turned, '--apply-orientation', '--tiles', '128')), expected);
  assert.not.match((await florence2('run', '--help')).stdout, /--apply-orientation/);
});

test('--semantic: one map of the classes, as PNG and .npy', async () => {
  const maps = join(folder, 'maps');
  const asked = ['docs/scenes/scene-1.png', '-m', 'demo', '-b', 'wasm', '--semantic', maps];
  const { stdout } = await florence2('run', ...asked, '--classes', 'a green circle, a green star', '--json');
  const labels = jsonLines(stdout).map(({ instances }) => instances.map(({ label }: { label: string }) => label));
  assert.equal([labels[0][0], labels[1][0]], ['a green circle', 'a green star']);
  assert.equal(JSON.parse(await readFile(join(maps, 'classes.json'), 'utf8')), ['background', 'a green circle', 'a green star']); // biome-ignore format: one line
  const npy = await readFile(join(maps, 'scene-1.npy'));
  const indices = npy.subarray(npy.length - 128 * 128);
  assert.equal([...new Set(indices)].sort(), [0, 1, 2]);
  const { data } = await sharp(join(maps, 'scene-1.png')).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const reds = Array.from(indices, index => (index === 1 ? 128 : 0));
  assert.equal([...data.filter((_, i) => i % 3 === 0)], reds);
  const { stderr } = await florence2('run', ...asked, '--text', 'a green circle, a green circle');
  assert.equal(
    JSON.parse(await readFile(join(maps, 'classes.json'), 'utf8')),
    ['background', 'a green circle'],
    stderr,
  );
  assert.match(
    (await florence2('run', ...asked, '--text', 'a', '--classes', 'b')).stderr,
    /either --classes or --text/,
  );
  assert.match((await florence2('run', ...asked)).stderr, /--semantic needs the names of the classes/);
  assert.match((await florence2('run', ...asked, '-t', 'od', '--text', 'a')).stderr, /--semantic is for --task referring-segmentation alone/); // biome-ignore format: one line
});

test('--model demo is the checkpoint of the package, in any working directory', async () => {
  const directory = process.cwd();
  process.chdir(folder);
  try {
    const { code, stdout } = await withoutLeaks(() => florence2('run', street, '-m', 'demo', '-b', 'wasm', '-t', 'caption')); // biome-ignore format: one line
    assert.is(code, 0);
    assert.match(stdout, /square|circle|triangle|diamond|star/);
  } finally {
    process.chdir(directory);
  }
});

test('--constrain: the labels of od are --classes, also with random weights', async () => {
  const asked = [street, '-t', 'od', '--json', '--classes', 'car,red bus', '--min-new-tokens', '8'];
  const [{ boxes, dropped }] = jsonLines((await run(...asked, '--constrain')).stdout) as { boxes: { label: string }[]; dropped?: number }[]; // biome-ignore format: one line
  assert.ok(boxes.length > 0);
  for (const { label } of boxes) assert.ok(['car', 'red bus'].includes(label), label);
  assert.is(dropped, undefined);
  assert.equal((jsonLines((await run(...asked)).stdout)[0] as { boxes: unknown[] }).boxes, []);
});

test('names the backend on stderr', async () => {
  const { stderr } = await run(street, '-t', 'od');
  assert.match(stderr, /^Backend wasm /);
});

test('accepts folders and globs; batches have the same answers', async () => {
  const asked = ['-t', 'caption', '--json', '--beams', '1'];
  const one = jsonLines((await run(pictures, ...asked)).stdout);
  const two = jsonLines((await run(join(pictures, '*.jpg'), ...asked, '--batch', '2')).stdout);
  assert.is(one.length, 3);
  assert.equal(two, one);
});

/** Writes an adapter for a tiny checkpoint that is large enough to change answers. */
async function loudAdapter(path: string): Promise<string> {
  const { config } = await loadConfig(openFolder(tiny));
  const lora = createLora(new Florence2Model(config), { r: 1 });
  for (const { b } of lora.layers.values()) b.load(Float32Array.from({ length: b.shape[0] }, (_, i) => Math.sin(i)));
  await writeAdapter(lora, path);
  lora.dispose();
  return path;
}

test('--adapter: the answer of a program that loads the adapter', async () => {
  const adapter = await loudAdapter(join(folder, 'lora'));
  const asked = [street, '-t', 'caption', '--beams', '1'];
  const { code, stdout } = await run(...asked, '--adapter', adapter);
  assert.is(code, 0);
  assert.is.not((await run(...asked)).stdout, stdout);
  await withoutLeaks(async () => {
    const model = await Florence2.load(tiny, { backend: 'wasm' });
    await model.loadAdapter(adapter);
    model.adapters.mergeAndUnload(); // as the command does, for equal rounding
    const { text } = await model.run(street, '<CAPTION>', { numBeams: 1, maxNewTokens: 12 });
    assert.is(stdout.split('\n')[0], text);
    model.dispose();
  });
});

test('--adapter: an adapter that does not fit the model is an error', async () => {
  const adapter = await loudAdapter(join(folder, 'other'));
  const config = join(adapter, 'adapter_config.json');
  await writeFile(config, (await readFile(config, 'utf8')).replace('"r": 1,', '"r": 2,'));
  const { code, stderr } = await run(street, '-t', 'caption', '--adapter', adapter);
  assert.is(code, 1);
  assert.match(stderr, /florence2: .*lora_A\.weight has rank 1, but adapter_config\.json says 2/);
  assert.not.match(stderr, /\n +at /, 'a stack');
});

test('continues after an image that is smaller than the box, and counts it', async () => {
  const args = ['-t', 'region-ocr', '--box', '0,0,700,500', '--json', '--batch', '3'];
  const { code, stdout, stderr } = await run(street, await smallImage(), street.replace('street', 'sign'), ...args);
  assert.is(code, 1);
  assert.match(stderr, /^florence2: The box 0,0,700,500 is not within the image, which has 64 × 48 pixels\.$/m);
  assert.match(stderr, /^florence2: 1 of 3 images failed\.$/m);
  assert.equal(
    jsonLines(stdout).map(({ task, error }) => task ?? error.slice(0, 7)),
    ['<REGION_TO_OCR>', 'The box', '<REGION_TO_OCR>'],
  );
});

async function smallImage(): Promise<string> {
  const path = join(folder, 'small.png');
  await sharp({ create: { width: 64, height: 48, channels: 3, background: 'white' } }).toFile(path);
  return path;
}

test('continues after an unreadable image, and exits with 1', async () => {
  const broken = join(folder, 'broken.png');
  await writeFile(broken, 'no image');
  const { code, stdout, stderr } = await run(broken, street, '-t', 'od', '--json', '--batch', '2');
  assert.is(code, 1);
  assert.match(stderr, /florence2: .*broken\.png.*/);
  const [first, second] = jsonLines(stdout);
  assert.is(first.image, broken);
  assert.match(first.error, /broken\.png/);
  assert.is(second.task, '<OD>');
});

test('a missing image is reported before the model is loaded', async () => {
  const missing = join(folder, 'missing.png');
  const { code, stdout, stderr } = await run(street, missing, '-t', 'od');
  assert.equal({ code, stdout, stderr }, { code: 1, stdout: '', stderr: `florence2: ${missing} does not exist.\n` });
});

test('draws into a file, a file per task, or a folder, and says where', async () => {
  const file = join(folder, 'one.png');
  const { stderr } = await run(street, '-t', 'region-proposal', '--draw', file);
  assert.ok(stderr.includes(`\nWrote ${file}\n`), stderr);
  const { width, height } = await sharp(file).metadata();
  assert.ok(width === 768 && height! > 512, 'the strip of an empty result');
  await run(street, '-t', 'od', '-t', 'region-proposal', '--draw', join(folder, 'two.png'));
  const { stdout } = await run(pictures, '-t', 'od', '--json', '--draw', join(folder, 'many'));
  assert.equal(jsonLines(stdout).map(({ drawing }) => drawing), ['shapes', 'sign', 'street'].map(name => join(folder, `many/${name}.od.png`))); // biome-ignore format: one line
  const drawn = await readdir(folder, { recursive: true });
  for (const name of ['two.od.png', 'two.region-proposal.png', 'many/shapes.od.png', 'many/street.od.png']) {
    assert.ok(drawn.includes(name), name);
  }
  assert.not.ok(drawn.some(name => name.endsWith('.part')));
});

test('drawings of images with equal names lie in their folders', async () => {
  const [a, b] = ['a', 'b'].map(name => join(folder, 'equal', name, 'x.png'));
  for (const path of [a, b]) {
    await mkdir(dirname(path), { recursive: true });
    await sharp(street).resize(64).png().toFile(path);
  }
  const { stdout } = await run(a, b, '-t', 'od', '--json', '--draw', join(folder, 'drawn'));
  const drawings = jsonLines(stdout).map(({ drawing }) => drawing);
  assert.equal(drawings, ['a/x.od.png', 'b/x.od.png'].map(name => join(folder, 'drawn', name))); // biome-ignore format: one line
  for (const path of drawings) assert.ok((await sharp(path).metadata()).width! >= 400);
});

test('a page of a PDF file is an image', async () => {
  const [file, out] = ['docs/scenes/pages.pdf', join(folder, 'pdf')];
  const { stdout } = await florence2('run', file, '--pages', '1', '-m', 'demo', '-b', 'wasm', '-t', 'ocr', '--json', '--draw', out); // biome-ignore format: one line
  const [{ image, text, imageSize, drawing }] = jsonLines(stdout);
  assert.equal([image, text, drawing], [`${file}#page=1`, 'OPEN', join(out, 'pages.page-1.ocr.png')]);
  assert.equal(imageSize, { width: 267, height: 267 }); // 128 points at 150 dpi
  assert.is((await sharp(drawing).metadata()).width, 534);
});

test('writes a mask per polygon instance', async () => {
  const masks = join(folder, 'masks');
  const asked = [
    '-m',
    tiny,
    '-b',
    'wasm',
    '-t',
    'region-segmentation',
    '--box',
    '94,244,278,428',
    '--max-new-tokens',
    '100',
  ];
  const { stdout } = await florence2('run', join(pictures, 'shapes.jpg'), ...asked, '--json', '--masks', masks);
  const [{ instances }] = jsonLines(stdout);
  assert.ok(instances.length > 0, 'the answer has polygons');
  const written = (await readdir(masks)).sort();
  assert.is(written.length, instances.length);
  const { width, height } = await sharp(join(masks, written[0])).metadata();
  assert.equal([width, height], [768, 512]);
});

test('--min-score omits boxes with a lower confidence', async () => {
  const boxes = async (...more: string[]) => jsonLines((await run(street, '-t', 'region-proposal', '--keep-malformed', '--json', ...more)).stdout)[0].boxes; // biome-ignore format: one line
  const all = await boxes();
  const scores = all.map(({ confidence }: { confidence: number }) => confidence).sort();
  const middle = scores[scores.length >> 1];
  const kept = await boxes('--min-score', String(middle));
  assert.equal(kept, all.filter(({ confidence }: { confidence: number }) => confidence >= middle)); // biome-ignore format: one line
  assert.ok(kept.length < all.length);
});

test('passes a prompt on unchanged', async () => {
  const [{ task, prompt }] = jsonLines((await run(street, '-p', '<DocVQA>How much?', '--json')).stdout);
  assert.equal([task, prompt], ['prompt', '<DocVQA>How much?']);
});

test.after(() => rm(folder, { recursive: true }));
test.run();
