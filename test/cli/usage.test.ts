import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { tinyCheckpoint } from '../tiny_checkpoint.ts';
import { florence2 } from './florence2.ts';

const tiny = await tinyCheckpoint();
const street = fileURLToPath(new URL('../../docs/pictures/street.jpg', import.meta.url));
const sign = street.replace('street', 'sign');
const empty = await mkdtemp(join(tmpdir(), 'florence2-cli-'));

const wrong: [args: string[], code: number, message: RegExp][] = [
  [['run', street, '--task', 'odd', '-m', tiny], 2, /Unknown task "odd"\. Did you mean "od"\?/],
  [['run', street, '--task', 'captoin', '-m', tiny], 2, /Did you mean "caption"\?/],
  [['run', street, '--task', 'x'.repeat(30), '-m', tiny], 2, /Unknown task .* The tasks are: ocr, /],
  [['run', street, '-m', tiny], 2, /A task is required: give --task/],
  [['run', '--task', 'od'], 2, /^florence2: Missing required argument 'image'\.$/m],
  [['run', street, '--tsk', 'od'], 2, /^florence2: Unknown option '--tsk'\. Did you mean --task\?$/m],
  [['convert', 'in', 'out', '--too', 'coco'], 2, /^florence2: Unknown option '--too'\. Did you mean --to\?$/m],
  [['convert', 'in', 'out'], 2, /^florence2: florence2 convert needs --to <format>\.$/m],
  [['rum', street], 2, /^florence2: Unknown command 'rum'\. Did you mean run\?$/m],
  [['run', street, '-t', 'od', '--backend', 'tpu'], 2, /'tpu' is invalid\. Allowed choices are auto, tensorflow/],
  [['run', street, '-t', 'od', '--beams', '0'], 2, /Expected a whole number from 1 to 1024/],
  [['run', street, '-t', 'od', '--top-p', '2'], 2, /--top-p .* Expected a number from 0 to 1/],
  [['run', street, '-t', 'od', '--early-stopping', 'yes'], 2, /Expected true, false or (")?never/],
  [['run', street, '-t', 'od', '--no-repeat-ngram-size', '-1'], 2, /Expected a whole number, 0 for no limit/],
  [['run', street, '-t', 'od', '--eos-token-ids', '2,x'], 2, /Expected a list of token ids/],
  [['run', street, '-t', 'od', '-m', tiny, '-b', 'cpu', '--max-pixels', '99'], 1, /more than the limit of 99/],
  [['run', street, '-t', 'od', '--batch', 'two'], 2, /Expected a whole number of at least 1/],
  [['run', street, '-t', 'od', '--min-score', '2'], 2, /Expected a number from 0 to 1/],
  [['run', street, '-t', 'region-ocr', '--box', '1,2,3'], 2, /Expected four numbers in pixels/],
  [['run', street, '-t', 'region-ocr', '--box', '9,2,3,4'], 2, /Expected x1 <= x2 and y1 <= y2/],
  [['run', street, '-t', 'region-ocr', '-m', tiny], 2, /needs a region/],
  [['run', street, '-t', 'grounding', '-m', tiny], 2, /needs a text/],
  [
    ['run', street, '-t', 'od', '--text', 'car'],
    2,
    /--text: none of the tasks takes a text. Tasks with a text: grounding/,
  ],
  [['run', street, '-t', 'caption', '--classes', 'car'], 2, /--classes: give --task od to keep only these classes/],
  [
    ['run', street, '-t', 'od', '-t', 'dense-region-caption', '--classes', 'car', '--constrain'],
    2,
    /--constrain: the labels of dense-region-caption are not --classes/,
  ],
  [['run', street, '-t', 'ovd', '--classes', 'car', '--text', 'bus'], 2, /either --classes or --text, not both/],
  [['run', street, '-t', 'od', '--classes', 'car,,bus'], 2, /Expected a list of texts/],
  [['run', street, '-t', 'od', '--box', '1,2,3,4'], 2, /--box: none of the tasks takes a region/],
  [['run', street, '-t', 'od', '--adapter', './nowhere'], 1, /nowhere is not a folder: an adapter is a folder/],
  [['run', street, '-t', 'od', '--adapter', empty], 1, /adapter_config\.json does not exist/],
  [['run', street, '-t', 'od', '--draw', 'out.jpg'], 2, /--draw out\.jpg: drawings are PNG files/],
  [['run', street, sign, '-t', 'od', '--draw', 'o.png'], 2, /--draw o\.png is one file for 2 images: give a folder/],
  [['run', street, '-t', 'od', '-m', './nowhere'], 1, /"\.\/nowhere" is not a folder/],
  [
    ['run', street, '-t', 'od', '-m', 'nowhere'],
    1,
    /"nowhere" is not a folder\. Give a folder, a hub id such as .*, or "demo"/,
  ],
  [['run', street, '-t', 'od', '-m', empty], 1, /has no config\.json/],
  [['run', street, '-t', 'od', '-m', tiny, '--image-size', '9999'], 2, /position embeddings for \d+ per side/],
  [['run', empty, '-t', 'od', '-m', tiny], 1, /The folder .* has no images/],
  [['run', join(empty, '*.png'), '-t', 'od', '-m', tiny], 1, /No file matches/],
  [['run', join(empty, 'x.png'), '-t', 'od', '-m', tiny, '-b', 'cpu'], 1, /x\.png/],
  [
    ['features', street, '--at', 'a', '--at', 'b', '-o', 'x.npy'],
    2,
    /^florence2: --at was given twice, but takes one value\.$/m,
  ],
  [
    ['features', street, '--at', 'a', '--output', 'x.txt', '-m', tiny],
    2,
    /^florence2: x\.txt: the file name must end in/m,
  ],
  [['inspect', street, '-t', 'od', '--output', 'x.png'], 2, /--out x\.png: the page must be an \.html file/],
  [['train', '-d', empty, '-o', 'a', '--output', 'b'], 2, /--output was given twice, but takes one value/],
  [['inspect', street, '-t', 'caption', '-t', 'od', '-o', 'x.html'], 2, /--task was given twice, but takes one value/],
  [['run', street, '-t', 'od', '-m', tiny, '--model', tiny], 2, /--model was given twice/],
  [['run', street, '-t', 'od', '-m', 'dmeo'], 2, /There is no model "dmeo"\. Did you mean "demo"\?/],
  [
    ['features', street, '--at', 'WRONG', '-m', tiny, '-b', 'cpu', '-o', 'x.npy'],
    2,
    /^florence2: No hook point of the model is named WRONG\. Did you mean \S+, \S+ or \S+\?$/m,
  ],
  [['parity', empty], 1, /manifest\.json/],
  [['run', 'no\x1b[2J.png', '-t', 'od'], 1, /^florence2: no\\u001b\[2J\.png does not exist\.$/m],
  [['setup', 'pytorch'], 2, /Unknown command 'pytorch'/],
];

for (const [args, code, message] of wrong) {
  test(`florence2 ${args.join(' ').slice(0, 90)}`, async () => {
    const outcome = await florence2(...args);
    assert.match(outcome.stderr, message);
    assert.is(outcome.code, code);
    assert.is(outcome.stdout, '');
    assert.not.match(outcome.stderr, /\n +at /, 'a stack');
  });
}

for (const args of [
  ['--help'],
  ['run', '--help'],
  ['parity', '--help'],
  ['setup', 'tensorflow', '--help'],
  ['--version'],
]) {
  test(`florence2 ${args.join(' ')}`, async () => {
    const { code, stdout, stderr } = await florence2(...args);
    assert.is(code, 0);
    assert.ok(stdout.length > 0);
    assert.is(stderr, '');
  });
}

test('the help of every command has its defaults in one form', async () => {
  const { stdout } = await florence2('--help');
  const commands = [...stdout.matchAll(/^ {2}(\w+) \[options\]/gm)].map(([, name]) => name);
  assert.ok(commands.length > 8, stdout);
  for (const command of [...commands, 'setup tensorflow']) {
    const help = (await florence2(...command.split(' '), '--help')).stdout.replace(/\s+/g, ' ');
    const defaults = [...help.matchAll(/.{9}(?<!by )default:.{9}/g)].map(([text]) => text);
    for (const text of defaults) assert.match(text, /\(default: [^"[]|[^ ]; default: [^"[]/, command);
    assert.not.match(help, /choices:|undefined/, command);
  }
  assert.match((await florence2('run', '--help')).stdout.replace(/\s+/g, ' '), /\(auto, tensorflow, webgpu, wasm, cpu; default: auto\).*\(default: from the checkpoint\)/); // biome-ignore format: one line
});

test('the help loads neither TensorFlow.js nor the code of any command', async () => {
  const entry = fileURLToPath(new URL('../../src/cli/program.ts', import.meta.url));
  const { metafile } = await build({
    ...{ entryPoints: [entry], bundle: true, splitting: true, format: 'esm', platform: 'node', packages: 'external' },
    ...{ outdir: empty, write: false, metafile: true },
  });
  const loaded = new Set<string>();
  const follow = (path: string): void => {
    if (loaded.has(path)) return;
    loaded.add(path);
    for (const { path: next, kind } of metafile.outputs[path]?.imports ?? [])
      if (kind !== 'dynamic-import') follow(next);
  };
  const [start] = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint?.endsWith('program.ts'))!;
  follow(start);
  const packages = [...loaded].filter(path => !metafile.outputs[path] && !path.startsWith('node:'));
  assert.equal(packages.sort(), ['commander', 'fastest-levenshtein']);
});

test.after(() => rm(empty, { recursive: true }));
test.run();
