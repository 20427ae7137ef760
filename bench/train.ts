/**
 * Compares the speed and memory of training with PyTorch, transformers and PEFT on this machine:
 *
 *     python3 -m venv .venv && .venv/bin/pip install -r tools/interop/requirements.txt
 *     npm run bench:train -- --python .venv/bin/python [--shape base|large|tiny] [--kind lora,full] [--batch 1,4]
 *                            [--rounds N] [--backend NAME]
 *
 * LoRA of rank 8 on the default targets with the vision tower frozen, and full fine-tuning with gradient checkpointing;
 * fp32, AdamW, no dropout, random weights, one target of about forty tokens per image. Each side runs in a separate
 * process. They take steps in turns, and the results are the ratios within each pair. The machine must be idle:
 * PyTorch's threads wait for each other after each operation, so other load slows them disproportionately. PyTorch has
 * no cache of image features, so our steps of the second epoch, which use the cache, are compared with PyTorch's normal
 * steps. Prints a table and writes bench/results/train-SHAPE.json.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { Florence2Error } from '../src/errors.ts';
import type { ShapeName } from '../tools/checkpoint_shapes.ts';
import { withRandomCheckpoint } from './inputs.ts';
import { JsonProcess } from './json_process.ts';
import { median, rounded, type Spread, spread, warnIfBusy, writeReport } from './report.ts';
import { writeInputs } from './train_example.ts';

/** Largest allowed difference of the losses of the first step. */
const SAME_LOSS = 1e-3;

type Kind = 'lora' | 'full';

interface Step {
  loss: number;
  seconds: number;
}

interface Measured {
  what: string;
  batch: number;
  /** Medians in seconds. */
  ours: number;
  pytorch: number;
  /** Speed relative to PyTorch: median, minimum and maximum over the pairs. */
  speed: Spread;
}

interface Memory {
  kind: Kind;
  batch: number;
  /** Peak RSS in MB. */
  ours: number;
  pytorch: number;
}

const { values } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    shape: { type: 'string', default: 'base' },
    kind: { type: 'string', default: 'lora,full' },
    batch: { type: 'string', default: '1,4' },
    rounds: { type: 'string', default: '5' },
    backend: { type: 'string', default: 'tensorflow' },
  },
});
const rounds = Number(values.rounds);
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

async function main(): Promise<void> {
  warnIfBusy(0.5);
  const times: Measured[] = [];
  const memory: Memory[] = [];
  const checkpoint = { shape: values.shape as ShapeName, dtype: 'F32', layout: 'native' } as const;
  await withRandomCheckpoint(checkpoint, async folder => {
    await writeInputs(folder);
    for (const kind of values.kind.split(',') as Kind[]) {
      for (const batch of values.batch.split(',').map(Number)) {
        const { measured, peaks } = await compare(folder, kind, batch);
        times.push(...measured);
        memory.push(peaks);
      }
    }
  });
  const { shape, backend } = values;
  await writeReport(`train-${shape}`, { shape, backend, rounds, times, memory });
}

/** Runs both sides in turns. The first step of each is a warm-up and not counted. */
async function compare(folder: string, kind: Kind, batch: number): Promise<{ measured: Measured[]; peaks: Memory }> {
  const epoch = 1 + rounds;
  const tsx = ['--import', 'tsx', file('train_ours.ts')];
  const args = [...tsx, folder, kind, batch, epoch, values.backend].map(String);
  const { process: ours } = await JsonProcess.start(process.execPath, args);
  const { process: pytorch } = await JsonProcess.start(values.python, [file('train_torch.py'), folder, kind, String(batch)]); // biome-ignore format: one line
  const pair = async (): Promise<[Step, Step]> => [await ours.ask(''), await pytorch.ask('')];
  checkSame(await pair());
  const measured: Measured[] = [];
  for (const what of kind === 'lora' ? ['LoRA step', 'LoRA step, features cached'] : ['full step']) {
    const pairs: [Step, Step][] = [];
    for (let round = 0; round < rounds; round++) pairs.push(await pair());
    measured.push(summary(what, batch, pairs));
    print(measured.at(-1)!);
  }
  const peak = async (side: JsonProcess) => rounded((await side.end<{ peakRss: number }>()).peakRss);
  const peaks = { kind, batch, ours: await peak(ours), pytorch: await peak(pytorch) };
  console.log(`${`peak RSS MB, ${kind}, batch ${batch}`.padEnd(40)} ours ${peaks.ours}, PyTorch ${peaks.pytorch}`);
  return { measured, peaks };
}

function checkSame([ours, pytorch]: [Step, Step]): void {
  if (Math.abs(ours.loss - pytorch.loss) <= SAME_LOSS) return;
  throw new Florence2Error(`The losses differ: ${ours.loss} here, ${pytorch.loss} in PyTorch.`);
}

function summary(what: string, batch: number, pairs: [Step, Step][]): Measured {
  const ratios = pairs.map(([ours, pytorch]) => pytorch.seconds / ours.seconds);
  return {
    what,
    batch,
    ours: rounded(median(pairs.map(([{ seconds }]) => seconds))),
    pytorch: rounded(median(pairs.map(([, { seconds }]) => seconds))),
    speed: spread(ratios),
  };
}

function print({ what, batch, ours, pytorch, speed }: Measured): void {
  const name = `${what}, batch ${batch}`.padEnd(40);
  console.log(
    `${name} ours ${ours} s, PyTorch ${pytorch} s: ${speed.median} times as fast (${speed.least} to ${speed.most})`,
  );
}

await exitOnError(main);
