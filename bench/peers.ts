/**
 * Compares this package with ONNX Runtime, PyTorch and transformers.js (which runs on ONNX Runtime) on this machine:
 *
 *     npm run bench:peers [-- --shape base|large] [--against onnxruntime,pytorch,transformersjs] [--rounds N]
 *                         [--tokens 60] [--python python3] [--folder DIR]
 *
 * Sets up the other engines in out/peers: a Python environment with the packages of peers/requirements.txt,
 * transformers.js, and ONNX exports of the same random weights. The weights are fp16, like Microsoft's; all engines
 * compute in fp32. Each engine runs in a separate process. They run in turns, and the results are the ratios of the
 * times within each turn; turns of less than a second are repeated four times as often. Before the measurement, all
 * engines must answer with the same tokens. All stay in memory: 24 GB are not enough for the large shape if
 * transformers.js is included. transformers.js has no beam search.
 *
 * Prints a table, writes bench/results/peers-SHAPE.json and draws docs/peers-SHAPE.svg.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadTokenizer } from '../src/checkpoint/tokenizer_files.ts';
import { exitOnError } from '../src/cli/exit.ts';
import { Florence2Error, UsageError } from '../src/errors.ts';
import { openFolder } from '../src/platform/node.ts';
import type { ShapeName } from '../tools/checkpoint_shapes.ts';
import { writeRandomCheckpoint } from '../tools/random_checkpoint.ts';
import { picture } from './inputs.ts';
import { JsonProcess } from './json_process.ts';
import { barChart } from './peers/bars.ts';
import type { Done, Job } from './peers/job.ts';
import { machine, median, rounded, type Spread, spread, warnIfBusy, writeReport } from './report.ts';

const TRANSFORMERS_JS = '4.3.1'; // its ONNX Runtime is also the one measured alone

const peers = ['onnxruntime', 'pytorch', 'transformersjs'] as const;
type Peer = (typeof peers)[number];

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'base' },
    against: { type: 'string', default: peers.join() },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '60' },
    python: { type: 'string', default: 'python3' },
    folder: { type: 'string', default: 'out/peers' },
  },
});
const rounds = Number(values.rounds);
const tokens = Number(values.tokens);
const root = fileURLToPath(new URL('..', import.meta.url));
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const street = fileURLToPath(picture);

interface Engine {
  name: string;
  process: JsonProcess;
  /**
   * Seconds for loading the model, including the tokenizer if the engine has one, excluding the start of the process
   * and imports.
   */
  load: number;
  versions: Record<string, string>;
}

const run = ({ process }: Engine, job: Job): Promise<Done> => process.ask(JSON.stringify(job));

async function start(name: string, command: string, args: string[]): Promise<Engine> {
  const { process, hello } = await JsonProcess.start<{ load: number }>(command, args);
  const { load, ...versions } = hello;
  return { name, process, load, versions };
}

/** Ends an engine and returns its peak RSS in MB. */
const end = async ({ process }: Engine): Promise<number> => (await process.end<{ peakRss: number }>()).peakRss;

interface Row {
  what: string;
  unit: 's' | 'ms';
  job: Job;
  /** True if transformers.js has no call for the job. */
  lacking?: true;
}

const lacking = true;
const rows: Row[] = [
  { what: 'vision', unit: 'ms', job: { what: 'vision', batch: 1 } },
  { what: 'encoder', unit: 'ms', job: { what: 'encoder', batch: 1 }, lacking },
  { what: `greedy, per token (${tokens})`, unit: 'ms', job: { what: 'decode', batch: 1, tokens } },
  { what: `3 beams, per step (${tokens})`, unit: 'ms', job: { what: 'decode', batch: 1, tokens, beams: 3 }, lacking },
  { what: 'file to 50 tokens', unit: 's', job: { what: 'file', batch: 1, tokens: 50 } },
  { what: 'file to 50 tokens, 3 beams', unit: 's', job: { what: 'file', batch: 1, tokens: 50, beams: 3 }, lacking },
  { what: 'vision, batch 4', unit: 'ms', job: { what: 'vision', batch: 4 } },
  { what: 'encoder, batch 4', unit: 'ms', job: { what: 'encoder', batch: 4 }, lacking },
  { what: `greedy, batch 4, per step (${tokens})`, unit: 'ms', job: { what: 'decode', batch: 4, tokens } },
];

interface Measured {
  what: string;
  unit: string;
  /** Median time per engine. */
  times: Record<string, number>;
  /** Our time divided by theirs: median, minimum and maximum over the turns. */
  ratios: Record<string, Spread>;
}

async function main(): Promise<void> {
  const against = values.against.split(',').map(peerOf);
  warnIfBusy(1);
  const starters = await setUp(against);
  const measured: Measured[] = [await measureLoads(starters)];
  const engines = await startAll(starters);
  await checkAnswers(engines);
  for (const { what, unit, job, lacking } of rows) {
    const able = lacking ? engines.filter(({ name }) => name !== 'transformers.js') : engines;
    const scale = unit === 'ms' ? 1000 : 1;
    const turns: number[][] = able.map(() => []);
    let short = true;
    for (let round = 0; round <= (short ? 4 * rounds : rounds); round++) {
      for (let i = 0; i < able.length; i++) {
        const turn = (round + i) % able.length;
        const begin = performance.now();
        const { seconds } = await run(able[turn], job);
        if (round === 0) continue;
        turns[turn].push(scale * seconds);
        if (performance.now() - begin > 1000) short = false;
      }
    }
    measured.push(compare(what, unit, able.map(({ name }) => name), turns)); // biome-ignore format: one line
    print(measured.at(-1)!);
  }
  const peaks: number[][] = [];
  for (const engine of engines) peaks.push([await end(engine)]);
  measured.push(compare('peak RSS', 'MB', engines.map(({ name }) => name), peaks)); // biome-ignore format: one line
  print(measured.at(-1)!);
  const versions = Object.fromEntries(engines.map(({ name, versions }) => [name, versions]));
  await writeReport(`peers-${values.shape}`, { shape: values.shape, rounds, versions, measured });
  await writeFile(join(root, `docs/peers-${values.shape}.svg`), barChart(title(), measured.slice(0, 7)));
}

const title = (): string =>
  `Florence-2-${values.shape} shape, 768×768, ${machine.cores} cores (${machine.cpu}): times, ours = 1`;

type Starter = () => Promise<Engine>;

/** Installs and exports what is missing. Returns functions that start the engines, ours first. */
async function setUp(against: readonly Peer[]): Promise<Starter[]> {
  const folder = join(root, values.folder);
  const checkpoint = join(folder, values.shape);
  const onnx = join(folder, `${values.shape}-onnx`);
  const python = join(folder, 'venv/bin/python');
  await mkdir(onnx, { recursive: true });
  if (!existsSync(python)) {
    install(values.python, '-m', 'venv', join(folder, 'venv'));
    install(python, '-m', 'pip', 'install', '--quiet', '-r', file('peers/requirements.txt'));
  }
  if (!existsSync(join(onnx, 'node_modules/@huggingface/transformers'))) {
    // Without --ignore-scripts, ONNX Runtime's install script would download CUDA's libraries.
    const transformers = `@huggingface/transformers@${TRANSFORMERS_JS}`;
    install('npm', 'install', '--prefix', onnx, '--no-save', '--ignore-scripts', transformers);
  }
  if (!existsSync(join(checkpoint, 'config.json'))) {
    const shape = values.shape as ShapeName;
    await writeRandomCheckpoint(checkpoint, { shape, seed: 1, dtype: 'F16', layout: 'native' });
  }
  if (!existsSync(join(onnx, 'onnx/decoder_model_merged.onnx')))
    install(python, file('peers/export_onnx.py'), checkpoint, onnx);
  process.env.PROMPT_IDS = JSON.stringify(
    (await loadTokenizer(openFolder(checkpoint))).encode('What does the image describe?'),
  );
  const config = join(checkpoint, 'config.json');
  const tsx = ['--import', 'tsx', file('peers/ours.ts')];
  const starters: Record<Peer, Starter> = {
    onnxruntime: () => start('ONNX Runtime', process.execPath, [file('peers/onnxruntime.mjs'), onnx, config, street]),
    pytorch: () => start('PyTorch', python, [file('peers/pytorch.py'), checkpoint, street]),
    transformersjs: () => start('transformers.js', process.execPath, [file('peers/transformersjs.mjs'), onnx, street]),
  };
  return [() => start('ours', process.execPath, [...tsx, checkpoint, street]), ...against.map(peer => starters[peer])];
}

function peerOf(name: string): Peer {
  const peer = peers.find(peer => peer === name);
  if (!peer) throw new UsageError(`--against must be one of ${peers.join(', ')}, not ${name}.`);
  return peer;
}

function install(command: string, ...args: string[]): void {
  console.log(`${command} ${args.join(' ')}`);
  try {
    execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  } catch (error) {
    throw new Florence2Error(`${command} failed: ${(error as Error).message}`);
  }
}

async function startAll(starters: readonly Starter[]): Promise<Engine[]> {
  const engines: Engine[] = [];
  for (const starter of starters) engines.push(await starter());
  return engines;
}

/** Measures loading, in turns. The files are in the operating system's cache. */
async function measureLoads(starters: readonly Starter[]): Promise<Measured> {
  const turns: number[][] = starters.map(() => []);
  const names: string[] = [];
  for (let round = 0; round <= 3; round++) {
    for (const [i, starter] of starters.entries()) {
      const engine = await starter();
      names[i] = engine.name;
      if (round > 0) turns[i].push(engine.load);
      await end(engine);
    }
  }
  const measured = compare('load', 's', names, turns);
  print(measured);
  return measured;
}

async function checkAnswers(engines: readonly Engine[]): Promise<void> {
  const answers: string[] = [];
  for (const engine of engines) {
    const { ids } = await run(engine, { what: 'decode', batch: 1, tokens: 12 });
    answers.push(String(ids!.slice(0, -1))); // without the last token: ours is </s> when the answer is cut
  }
  engines.forEach(({ name }, i) => {
    if (answers[i] !== answers[0])
      throw new Florence2Error(`The answers differ: ${answers[i]} from ${name}, ${answers[0]} from ours.`);
  });
}

/** @param turns the figure of each engine in each turn, ours first */
function compare(what: string, unit: string, names: readonly string[], turns: readonly number[][]): Measured {
  const [ours] = turns;
  const ratios = names.slice(1).map((name, i) => [name, spread(ours.map((mine, turn) => mine / turns[i + 1][turn]))]);
  return {
    what,
    unit,
    times: Object.fromEntries(names.map((name, i) => [name, rounded(median(turns[i]))])),
    ratios: Object.fromEntries(ratios),
  };
}

function print({ what, unit, times, ratios }: Measured): void {
  const figures = Object.entries(times).map(([name, time]) => `${name} ${time} ${unit}`);
  const against = Object.entries(ratios).map(([name, { median }]) => `${median} × ${name}`);
  console.log(`${what.padEnd(32)} ${figures.join(', ')}: ${against.join(', ')}`);
}

await exitOnError(main);
