import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { randomStream } from '../src/random.ts';
import { readLog } from '../src/training/log/run_log.ts';
import { Trainer } from '../src/training/trainer.ts';
import { RecordedDisk, type Remains, restore } from '../test/files/recorded_disk.ts';
import { learnerCheckpoint, newFolder, withLearner } from '../test/training/learner.ts';
import { runOptions } from '../test/training/resume_run.ts';
import { wholeNumber } from './arguments.ts';

const usage = `Interrupts short training runs and resumes them. Their results must equal those of an uninterrupted run: the bytes of all
files of every save, and the loss of every step.

  npx tsx tools/interruptions.ts [options]

  --kills N       processes to end with SIGKILL, at random moments of training, validating and saving; default 200
  --power-cuts N  power cuts, replayed from a recording of everything that a run writes and flushes; default 200
  --seed N        default 0`;

/** Everything that a run must end with: the files of its saves by path, and the losses of its steps. */
export interface Outcome {
  files: Map<string, Buffer>;
  losses: number[];
}

/** Options that `runOptions` lacks: a run that keeps its last saves, and draws nothing. */
const extra = { keepLast: 2, pictures: false };

/** Epochs of the runs that are killed: long enough to be killed several times. */
const KILLED_EPOCHS = 12;

/** Trains in a folder, or continues there. */
async function trainIn(
  checkpoint: string,
  output: string,
  epochs = runOptions.epochs,
  onStart = async (): Promise<void> => {},
): Promise<void> {
  await withLearner(checkpoint, async florence => {
    const options = { learningRate: 1e-3, ...runOptions, ...extra, epochs, output, resume: true };
    await new Trainer(florence, options).run({ onStart });
  });
}

/** Trains without an interruption, and returns the outcome. */
async function uninterrupted(checkpoint: string, epochs?: number): Promise<Outcome> {
  const output = newFolder();
  await trainIn(checkpoint, output, epochs);
  return outcomeOf(output);
}

async function outcomeOf(output: string): Promise<Outcome> {
  const files = new Map<string, Buffer>();
  for (const folder of readdirSync(output).filter(name => /^(latest|best|step-\d+)$/.test(name))) {
    for (const name of readdirSync(join(output, folder)).sort()) {
      files.set(join(folder, name), readFileSync(join(output, folder, name)));
    }
  }
  const steps = (await readLog(join(output, 'metrics.jsonl'))).filter(line => line.kind === 'step');
  return { files, losses: steps.map(({ loss }) => loss) };
}

/** Returns the names of what differs. */
export function differences(a: Outcome, b: Outcome): string[] {
  const names = [...new Set([...a.files.keys(), ...b.files.keys()])];
  const files = names.filter(name => !a.files.get(name)?.equals(b.files.get(name) ?? Buffer.of()));
  return [...files, ...(String(a.losses) === String(b.losses) ? [] : ['the losses'])];
}

/**
 * Starts a run in a child process. Kills it after `delay` milliseconds of training; without a delay, it runs to its end.
 *
 * @returns whether it was killed, and the milliseconds that it trained
 */
async function startRun(checkpoint: string, output: string, delay?: number): Promise<[killed: boolean, time: number]> {
  const flags = [...process.execArgv, fileURLToPath(import.meta.url), '--run', checkpoint, output];
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit') as Promise<[code: number | null, signal: string | null]>;
  await Promise.race([once(child.stdout, 'data'), ended]);
  const started = performance.now();
  if (delay !== undefined) await Promise.race([setTimeout(delay), ended]);
  if (delay !== undefined) child.kill('SIGKILL');
  const [code, signal] = await ended;
  if (signal === null && code !== 0) throw new Error(`The run in ${output} ended with code ${code}.`);
  return [signal !== null, performance.now() - started];
}

/** Kills runs at random moments, and resumes each until it ends. Returns what differs at the ends. */
async function killRuns(checkpoint: string, count: number, seed: number): Promise<string[]> {
  const random = randomStream(seed, 'kills');
  const whole = await uninterrupted(checkpoint, KILLED_EPOCHS);
  const first = newFolder();
  const [, time] = await startRun(checkpoint, first);
  const complaints = differences(whole, await outcomeOf(first)).map(name => `another process: ${name}`);
  let [kills, runs] = [0, 0];
  while (kills < count) {
    const output = newFolder();
    for (let killed = true; killed; kills += Number(killed)) {
      [killed] = await startRun(checkpoint, output, kills < count ? (random() * time) / 3 : undefined);
    }
    complaints.push(...differences(whole, await outcomeOf(output)).map(name => `killed run ${runs}: ${name}`));
    rmSync(output, { recursive: true });
    if (++runs % 10 === 0) console.log(`${kills} kills of ${runs} runs, ${complaints.length} differences so far`);
  }
  console.log(`${kills} kills of ${runs} runs: ${complaints.length} differences`);
  return complaints;
}

/** Replays power cuts during a recorded run, and resumes from what each leaves. Returns what differs at the ends. */
async function cutPower(checkpoint: string, count: number, seed: number): Promise<string[]> {
  const random = randomStream(seed, 'power cuts');
  const whole = await uninterrupted(checkpoint);
  const parent = newFolder();
  mkdirSync(parent);
  const disk = new RecordedDisk(parent);
  const moments: Remains[] = [];
  disk.onEvent = () => {
    moments.push(disk.afterPowerCut(lists => Math.floor(random() * lists)));
  };
  await disk.record(() => trainIn(checkpoint, join(parent, 'run')));
  const complaints: string[] = [];
  let early = 0; // before the first save is complete: such a run starts again
  for (let i = 0; i < count; i++) {
    const folder = newFolder();
    restore(moments[Math.floor((i * moments.length) / count)], folder);
    const output = join(folder, 'run');
    if (!['latest', '.latest.old', 'step-000002'].some(name => existsSync(join(output, name)))) early++;
    await trainIn(checkpoint, output);
    complaints.push(...differences(whole, await outcomeOf(output)).map(name => `power cut ${i}: ${name}`));
    rmSync(folder, { recursive: true });
  }
  console.log(
    `${count} power cuts at ${moments.length} moments, ${early} before the first save: ${complaints.length} differences`,
  );
  return complaints;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...{ kills: { type: 'string', default: '200' }, 'power-cuts': { type: 'string', default: '200' } },
      ...{ seed: { type: 'string', default: '0' }, run: { type: 'boolean' }, help: { type: 'boolean' } },
    },
  });
  if (values.help) return console.log(usage);
  if (values.run) {
    const [checkpoint, output] = positionals;
    return trainIn(checkpoint, output, KILLED_EPOCHS, async () => console.log('started'));
  }
  const [kills, cuts, seed] = (['kills', 'power-cuts', 'seed'] as const).map(name =>
    wholeNumber(name, values[name], 0),
  );
  const checkpoint = await learnerCheckpoint();
  const complaints = [
    ...(cuts > 0 ? await cutPower(checkpoint, cuts, seed) : []),
    ...(kills > 0 ? await killRuns(checkpoint, kills, seed) : []),
  ];
  for (const complaint of complaints) console.log(complaint);
  if (complaints.length > 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await exitOnError(main);
