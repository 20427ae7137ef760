/**
 * Compares exports of one checkpoint in ONNX Runtime on this machine: those of `florence2 export --onnx` in fp32 and q8,
 * and the export of PyTorch that `npm run bench:peers` makes.
 *
 *     npm run bench:peers -- --against onnxruntime   # sets up out/peers: the checkpoint and PyTorch's export
 *     npx tsx bench/export.ts [--shape base|large] [--rounds 8] [--folder out/peers]
 *
 * Each export runs in a separate process with onnxruntime-node and all cores. They run in turns, and the results are the
 * ratios within each turn. Prints a table, and writes bench/results/export-SHAPE.json.
 */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { UsageError } from '../src/errors.ts';
import { exportOnnx, Florence2 } from '../src/index.ts';
import { JsonProcess } from './json_process.ts';
import { median, rounded, spread, warnIfBusy, writeReport } from './report.ts';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'base' },
    rounds: { type: 'string', default: '8' },
    folder: { type: 'string', default: 'out/peers' },
  },
});
const root = fileURLToPath(new URL('..', import.meta.url));
const engine = fileURLToPath(new URL('peers/exported.mjs', import.meta.url));

async function main(): Promise<void> {
  warnIfBusy(1);
  const checkpoint = join(root, values.folder, values.shape);
  const pytorch = join(root, values.folder, `${values.shape}-onnx`);
  if (!existsSync(join(pytorch, 'onnx/decoder_model_merged.onnx')))
    throw new UsageError(
      `${pytorch} has no export of PyTorch: run npm run bench:peers -- --against onnxruntime first.`,
    );
  const ours = join(root, values.folder, `${values.shape}-florence2`);
  await rm(ours, { recursive: true, force: true });
  const model = await Florence2.load(checkpoint);
  await exportOnnx(model, ours, { dtypes: ['fp32', 'q8'] });
  model.dispose();
  const start = async (folder: string, suffix = '') =>
    (await JsonProcess.start(process.execPath, [engine, folder, join(checkpoint, 'config.json'), pytorch, suffix])).process; // biome-ignore format: one line
  const engines = { ours: await start(ours), q8: await start(ours, '_quantized'), pytorch: await start(pytorch) };
  const names = Object.keys(engines) as (keyof typeof engines)[];
  const measured: object[] = [];
  for (const job of ['vision', 'encoder', 'token']) {
    const turns = Object.fromEntries(names.map(name => [name, [] as number[]]));
    for (let round = 0; round <= Number(values.rounds); round++) {
      for (let i = 0; i < names.length; i++) {
        const name = names[(round + i) % names.length];
        const { milliseconds } = await engines[name].ask<{ milliseconds: number }>(job);
        if (round > 0) turns[name].push(milliseconds);
      }
    }
    const times = Object.fromEntries(names.map(name => [name, rounded(median(turns[name]))]));
    const ratio = (a: string, b: string) => spread(turns[a].map((time, turn) => time / turns[b][turn]));
    const row = {
      what: job,
      milliseconds: times,
      oursToPytorch: ratio('ours', 'pytorch'),
      q8ToOurs: ratio('q8', 'ours'),
    };
    measured.push(row);
    const { oursToPytorch, q8ToOurs } = row;
    console.log(
      `${job.padEnd(8)} fp32 ${times.ours} ms, ${oursToPytorch.median} of PyTorch's ${times.pytorch} ms (${oursToPytorch.least} to ${oursToPytorch.most}); ` +
        `q8 ${times.q8} ms, ${q8ToOurs.median} of fp32 (${q8ToOurs.least} to ${q8ToOurs.most})`,
    );
  }
  const peaks = Object.fromEntries(
    await Promise.all(names.map(async name => [name, (await engines[name].end<{ peakRss: number }>()).peakRss])),
  );
  console.log(`peak RSS MB ${JSON.stringify(peaks)}`);
  await writeReport(`export-${values.shape}`, { shape: values.shape, rounds: Number(values.rounds), measured, peaks });
}

await exitOnError(main);
