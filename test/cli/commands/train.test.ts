import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withoutLeaks } from '../../leaks.ts';
import { tinyCheckpoint } from '../../tiny_checkpoint.ts';
import { florence2 } from '../florence2.ts';
import { writeDataset } from '../train/dataset.ts';

const tiny = await tinyCheckpoint();
const folder = mkdtempSync(join(tmpdir(), 'florence2-train-'));
const data = writeDataset({ train: 2, valid: 1 });

const train = (...args: string[]) => florence2('train', ...args);

/** Trains a small adapter of a tiny checkpoint. One backend is enough to test the command. */
const trainAdapter = (...args: string[]) =>
  withoutLeaks(() => train('-d', data, '-m', tiny, '-b', 'wasm', '--lora', '--r', '2', ...args));

const linesOf = (text: string) => text.trimEnd().split('\n');
const logOf = (output: string) => linesOf(readFileSync(join(output, 'metrics.jsonl'), 'utf8')).map(line => JSON.parse(line)); // biome-ignore format: one line

test('trains an adapter, and prints its path', async () => {
  const output = join(folder, 'adapter');
  const { code, stdout, stderr } = await trainAdapter('-o', output, '--epochs', '2');
  assert.is(code, 0, stderr);
  const [training, valid, backend, step] = linesOf(stderr);
  assert.match(training, /^Training data: .*train\/annotations\.jsonl \(2 images\)$/);
  assert.match(valid, /^Validation data: .*valid\/annotations\.jsonl \(1 images\)$/);
  assert.match(backend, /^Backend wasm /);
  assert.match(step, /^epoch 0\.50 {2}step 1 {2}loss \d/);
  assert.is(linesOf(stderr).filter(line => /^validation at step [24]: loss .* caption editSimilarity /.test(line)).length, 2); // biome-ignore format: one line
  const [trained, best, latest, curves] = linesOf(stdout);
  assert.match(trained, /^Trained 4 steps, loss \d+\.\d{4}$/);
  assert.match(best, /^best +adapter of step [24], validation loss \d+\.\d{4}: .*best$/);
  assert.is(latest, `latest    adapter: ${join(output, 'latest')}`);
  assert.is(curves, `curves    ${join(output, 'curves.svg')}`);
  assert.ok(existsSync(join(output, 'best/adapter_model.safetensors')));
  const { r } = JSON.parse(await readFile(join(output, 'latest/adapter_config.json'), 'utf8'));
  assert.is(r, 2);
  const kinds = logOf(output).map(({ kind }) => kind);
  assert.equal(kinds, ['step', 'step', 'validation', 'step', 'step', 'validation']);

  const further = join(folder, 'further');
  const start = [
    '-d',
    data,
    '-m',
    tiny,
    '-b',
    'wasm',
    '-o',
    further,
    '--max-steps',
    '1',
    '--adapter',
    join(output, 'best'),
  ];
  const refused = await train(...start, '--lora');
  assert.is(refused.code, 2);
  assert.match(refused.stderr, /--adapter trains an adapter further, with its own settings: remove those of LoRA/);
  const again = await withoutLeaks(() => train(...start));
  assert.is(again.code, 0, again.stderr);
  const config = JSON.parse(await readFile(join(further, 'latest/adapter_config.json'), 'utf8'));
  assert.is(config.r, 2, 'the rank of the adapter that it starts from');
});

test('a resumed run has the settings in its folder, overridden by flags', async () => {
  const output = join(folder, 'resumed');
  const first = await trainAdapter('-o', output, '--epochs', '1', '--learning-rate', '2e-4');
  assert.is(first.code, 0, first.stderr);
  const before = JSON.parse(await readFile(join(output, 'run.json'), 'utf8'));
  const expected = {
    data: [data],
    model: tiny,
    backend: 'wasm',
    output,
    epochs: 1,
    learningRate: 2e-4,
    lora: { r: 2 },
  };
  assert.equal(before, expected);

  const refused = await train('-o', output, '-d', data);
  assert.is(refused.code, 2);
  assert.match(refused.stderr, /already holds a run: continue it with --resume/);

  const second = await withoutLeaks(() => train('-o', output, '--resume', '--epochs', '2'));
  assert.is(second.code, 0, second.stderr);
  assert.equal(
    logOf(output).filter(({ kind }) => kind === 'step').map(({ step }) => step),
    [1, 2, 3, 4],
  ); // biome-ignore format: short
  assert.equal(JSON.parse(await readFile(join(output, 'run.json'), 'utf8')), { ...expected, epochs: 2 });
});

test('Ctrl-C saves and stops', async () => {
  const output = join(folder, 'stopped');
  const watch = setInterval(() => {
    if (!existsSync(join(output, 'metrics.jsonl')) || readFileSync(join(output, 'metrics.jsonl'), 'utf8') === '')
      return;
    clearInterval(watch);
    process.emit('SIGINT');
  }, 20);
  const { code, stdout, stderr } = await trainAdapter('-o', output, '--epochs', '1000');
  clearInterval(watch);
  assert.is(code, 130, stderr);
  assert.match(linesOf(stdout)[0], /^Stopped after \d+ steps/);
  assert.is(linesOf(stdout).at(-1), `continue  florence2 train --out ${output} --resume`);
  assert.ok(existsSync(join(output, 'latest/adapter_model.safetensors')));
});

test('a resume that is refused leaves run.json as it was, and the run can be resumed from another directory', async () => {
  const output = join(folder, 'refused');
  assert.is((await trainAdapter('-o', output, '--epochs', '1')).code, 0);
  const before = await readFile(join(output, 'run.json'), 'utf8');
  const { code, stderr } = await train('-o', output, '--resume', '--epochs', '2', '--targets', 'q_proj');
  assert.is(code, 2);
  assert.match(stderr, /was started with other settings: lora\.targets was not set and is \["q_proj"\]/);
  assert.is(await readFile(join(output, 'run.json'), 'utf8'), before);

  const elsewhere = process.cwd();
  process.chdir(folder);
  const again = await train('-o', 'refused', '--resume');
  process.chdir(elsewhere);
  assert.is(again.code, 0, again.stderr);
  assert.match(again.stderr, /Nothing was left to do: raise --epochs/);
  assert.match(linesOf(again.stdout)[0], /^Trained 2 steps/);
});

test('a config file, overridden by flags', async () => {
  const output = join(folder, 'config');
  const config = join(folder, 'config.json');
  const settings = {
    data,
    output: 'elsewhere',
    model: tiny,
    backend: 'wasm',
    epochs: 5,
    maxSteps: 1,
    lora: { r: 3, alpha: 6 },
  };
  writeFileSync(config, JSON.stringify(settings));
  const { code, stderr } = await withoutLeaks(() => train('--config', config, '--r', '4', '--output', output));
  assert.is(code, 0, stderr);
  const written = JSON.parse(await readFile(join(output, 'latest/adapter_config.json'), 'utf8'));
  assert.equal([written.r, written.lora_alpha], [4, 6]);
});

test('--check lists problems by file and line, and statistics', async () => {
  const good = await train('-d', data, '--check', '-m', tiny);
  assert.is(good.code, 0);
  const [name, ...lines] = linesOf(good.stdout).slice(0, linesOf(good.stdout).length / 2);
  assert.is(name, join(data, 'train/annotations.jsonl'));
  assert.match(lines.join('\n'), /^ {2}images +2\n {2}targets +<CAPTION> 2\n {2}image sizes +\d+x\d+ 2\n {2}tokens +\d+ in answers, the longest \d+; the longest prompt \d+\n {2}problems +0 errors, 0 warnings$/); // biome-ignore format: one line

  const wrong = writeDataset({ train: 1, valid: 1 });
  const file = join(wrong, 'valid/annotations.jsonl');
  const row = { image: '0.jpg', prefix: '<OD>', suffix: 'circle<loc_1><loc_2><loc_3><loc_1000>' };
  const right = { ...row, suffix: 'circle<loc_1><loc_2><loc_3><loc_999>' };
  writeFileSync(file, `${JSON.stringify(row)}\n{"image": "0.jpg"\n${JSON.stringify(right)}\n`);
  const { code, stdout } = await train('-d', wrong, '--check');
  assert.is(code, 1);
  const problems = linesOf(stdout).filter(line => line.includes(': error: '));
  assert.ok(problems[0].startsWith(`  ${file}:1: error: `) && problems[0].includes('<loc_1000>'), problems[0]);
  assert.ok(problems[1].startsWith(`  ${file}:2: error: The line is not JSON`), problems[1]);
  assert.match(stdout, /problems +2 errors, 0 warnings/);
});

/** Writes a dataset with these rows about one picture. Returns its folder. */
function writeRows(...rows: object[]): string {
  const dataset = writeDataset({ train: 1 });
  const lines = rows.map(row => JSON.stringify({ image: '0.jpg', ...row }));
  writeFileSync(join(dataset, 'train/annotations.jsonl'), lines.join('\n'));
  return dataset;
}

const words = 'a red circle '.repeat(2000);
const unlabelled = writeRows({ prefix: '<OD>', suffix: '' }, { prefix: '<OCR>', suffix: '' });
const long = writeRows({ prefix: '<CAPTION>', suffix: 'a circle' }, { prefix: '<CAPTION>', suffix: words });
const longPrompt = writeRows({
  prefix: '<CAPTION_TO_PHRASE_GROUNDING>' + words,
  suffix: 'x<loc_1><loc_2><loc_3><loc_4>',
});
const emptyValid = writeDataset({ train: 1, valid: 0 });

for (const [what, args, message] of [
  ['an answer that is too long', ['-d', long], /annotations\.jsonl:2: error: The answer to <CAPTION> has \d+ tokens/],
  ['a prompt that is too long', ['-d', longPrompt], /annotations\.jsonl:1: error: The prompt has \d+ tokens/],
  ['data without labels', ['-d', unlabelled], /The run\n.*error: The training data have no labels/],
  [
    'data without one of the tasks',
    ['-d', data, '-t', 'od', '-t', 'caption'],
    /The run\n.*error: No example teaches <OD>\./,
  ],
] as [string, string[], RegExp][]) {
  test(`--check refuses what training refuses, in its words: ${what}`, async () => {
    const { code, stdout } = await train(...args, '--check', '-m', tiny);
    assert.is(code, 1);
    assert.match(stdout, message);
  });
}

test('an empty validation part is a warning, and the run goes on without', async () => {
  const { code, stdout } = await train('-d', emptyValid, '--check');
  assert.is(code, 0, stdout);
  assert.match(
    stdout,
    /warning: The validation data are empty and left out\.\n.*warning: There are no validation data/,
  );
});

test('--check puts problems of the same words in one line, and decodes images on request', async () => {
  const dataset = writeDataset({ train: 3 });
  const wrong = { prefix: '<OD>', suffix: 'circle<loc_1><loc_2><loc_3><loc_1000>' };
  const lines = [0, 1, 2].map(i =>
    JSON.stringify({ image: `${i}.jpg`, ...(i < 2 ? wrong : { prefix: '<OCR>', suffix: 'A' }) }),
  );
  const file = join(dataset, 'train/annotations.jsonl');
  writeFileSync(file, lines.join('\n'));
  const { stdout } = await train('-d', dataset, '--check');
  assert.match(stdout, new RegExp(`${file}:1,2: error: The answer contains <loc_1000>`));
  const picture = join(dataset, 'train/2.jpg');
  const bytes = await readFile(picture);
  writeFileSync(picture, bytes.subarray(0, bytes.length / 2));
  assert.match((await train('-d', dataset, '--check')).stdout, /2\.jpg is a damaged or truncated JPEG image/);
  const png = await sharp(bytes).resize(64, 64).png().toBuffer();
  png.fill(0, 100, 200); // the header and the end are whole
  writeFileSync(picture, png);
  assert.not.match((await train('-d', dataset, '--check')).stdout, /damaged/);
  assert.match(
    (await train('-d', dataset, '--check', '--decode')).stdout,
    /2\.jpg is a damaged or truncated PNG image/,
  );
});

const missing = join(folder, 'none');
for (const [what, args, code, message] of [
  ['no data', ['-o', missing], 2, /^florence2: --data is required: a dataset to train on\.$/],
  ['no output', ['-d', data], 2, /^florence2: --out is required: the folder to write the run to\.$/],
  ['missing data', ['-d', missing, '-o', missing], 1, /The dataset .*none does not exist/],
  ['data of weight 0', ['-d', `${data}:0`, '-o', missing], 2, /the weight must be larger than 0/],
  ['a run that does not exist', ['-o', missing, '--resume'], 2, /^florence2: .*none holds no run to resume\.$/],
  [
    'data without the task',
    ['-d', data, '-o', missing, '-t', 'od'],
    1,
    /annotations.jsonl: No example teaches <OD>\. There is 1 more error: --check lists all\.$/,
  ],
  [
    'data without one of the tasks',
    ['-d', data, '-o', missing, '-t', 'od', '-t', 'caption'],
    1,
    /annotations.jsonl: No example teaches <OD>\.$/,
  ],
  [
    'data without labels',
    ['-d', unlabelled, '-o', missing],
    1,
    /The training data have no labels: all answers are empty\.$/,
  ],
  [
    'empty validation data that are named',
    ['-d', data, '--valid', emptyValid, '-o', missing],
    1,
    /valid\/annotations.jsonl: The file has no examples\./,
  ],
  [
    'an answer that is too long',
    ['-d', long, '-o', missing, '-m', tiny, '-b', 'cpu'],
    1,
    /train\/annotations\.jsonl:2: The answer to <CAPTION> has \d+ tokens; the model has \d+ positions\.$/,
  ],
  [
    'a prompt that is too long',
    ['-d', longPrompt, '-o', missing, '-m', tiny, '-b', 'cpu'],
    1,
    /train\/annotations\.jsonl:1: The prompt has \d+ tokens and the image \d+, but the model has \d+ positions/,
  ],
  ['--decode without --check', ['-d', data, '-o', missing, '--decode'], 2, /--decode belongs to --check/],
  ['a mistyped task', ['-d', data, '-o', missing, '-t', 'captoin'], 2, /Did you mean "caption"\?/],
  [
    'settings of LoRA without --lora',
    ['-d', data, '-o', missing, '--lora-dropout', '0.1'],
    2,
    /--lora-dropout is a setting of LoRA: add --lora\./,
  ],
  [
    'LoRA with --freeze',
    ['-d', data, '-o', missing, '--lora', '--freeze', 'lm_head'],
    2,
    /LoRA already freezes everything except the adapter/,
  ],
  ['half an epoch', ['--epochs', '0.5'], 2, /Expected a whole number of at least 1/],
  ['a share above 1', ['--label-smoothing', '1.5'], 2, /Expected a number from 0 to 1/],
  ['an unknown schedule', ['--schedule', 'step'], 2, /Expected constant, linear or cosine/],
  ['a mistyped flag', ['--learning-rat', '1'], 2, /Did you mean --learning-rate\?/],
  ['a missing model', ['-d', data, '-o', missing, '-m', missing], 1, /none/],
  [
    'a name that freezes nothing',
    ['-d', data, '-o', missing, '-m', tiny, '-b', 'cpu', '--freeze', 'vision'],
    2,
    /freeze: no parameter matches vision\./,
  ],
  [
    'an invalid pattern',
    ['-d', data, '-o', missing, '-m', tiny, '-b', 'cpu', '--freeze', '/(/'],
    2,
    /freeze: \/\(\/ is not a valid regular expression/,
  ],
  [
    'a target that matches nothing',
    ['-d', data, '-o', missing, '-m', tiny, '-b', 'cpu', '--lora', '--targets', 'q_prj'],
    2,
    /q_prj/,
  ],
  ['convolutions on wasm', ['-d', data, '-o', missing, '-m', tiny, '-b', 'wasm', '--no-freeze'], 2, /wasm/],
] as [string, string[], number, RegExp][]) {
  // biome-ignore format: as a table
  test(`${what} is an error of one line`, async () => {
    const outcome = await train(...args);
    assert.is(outcome.code, code, outcome.stderr);
    assert.match(outcome.stderr.replace(/^(Backend|Training|Validation) .*\n/gm, '').trimEnd(), message);
    assert.is(outcome.stdout, '');
    assert.not.match(outcome.stderr, /\n +at /, 'a stack');
    assert.not.ok(existsSync(missing), 'nothing is written');
  });
}

test('the help lists the flags of settings', async () => {
  const { stdout } = await train('--help');
  for (const flag of ['--learning-rate <x>', '--no-dropout', '--lora ', '--modules-to-save <names>', '--flip <x>', '--config <file>']) {
    assert.ok(stdout.includes(`  ${flag}`), flag);
  }
}); // biome-ignore format: short

test.after(() => rmSync(folder, { recursive: true }));
test.run();
