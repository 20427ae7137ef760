import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Dataset } from '../../datasets/example.ts';
import { UsageError } from '../../errors.ts';
import { writeWhole } from '../../files/write.ts';
import type { WeightedDataset } from '../../training/mixture.ts';
import { Trainer, type TrainingSummary } from '../../training/trainer.ts';
import { interruptSignal } from '../exit.ts';
import { loadModel } from '../load_model.ts';
import { checkData } from '../train/check.ts';
import { mergeConfig, readConfig, type TrainConfig } from '../train/config.ts';
import { openData } from '../train/datasets.ts';
import { LiveLine } from '../train/live.ts';
import { flagOf, settingsByPath } from '../train/settings.ts';

/** Settings that there is something to train with. */
type CompleteConfig = TrainConfig & Required<Pick<TrainConfig, 'output' | 'data'>>;

/** The settings of a run, in its folder. `--resume` takes them from there. */
const RUN_FILE = 'run.json';

/** Checks data, or trains. All settings are looked at before the model is loaded. */
export async function runTrain(given: TrainConfig, flags: TrainFlags): Promise<void> {
  const config = await readSettings(given, flags);
  if (!config.data) throw new UsageError('Nothing to learn from: name a dataset with --data.');
  if (flags.check) return checkData(config);
  requireRunnable(config);
  const signal = interruptSignal();
  const { train, valid } = await openData(config);
  process.stderr.write(`${dataLines(train, valid).join('\n')}\n`);
  const { model = settingsByPath.get('model')!.default as string, revision, backend, imageSize } = config;
  const florence = await loadModel({ model, revision, backend, imageSize });
  const live = new LiveLine();
  try {
    const trainer = new Trainer(florence, {
      ...trainerSettings(config),
      ...{ train, valid, onStep: live.step, onValidation: live.validation },
    });
    const { resume, ...settings } = config;
    await writeWhole(join(config.output, RUN_FILE), Buffer.from(`${JSON.stringify(settings, null, 2)}\n`));
    const summary = await trainer.run({ signal });
    live.stop();
    process.stdout.write(`${summaryLines(summary, config).join('\n')}\n`);
    if (summary.stopped) process.exitCode = 130; // as a shell counts Ctrl-C: what was to follow does not
  } finally {
    live.stop();
    florence.dispose();
  }
}

/** The flags over the config file, or over what a run that is resumed was started with. */
async function readSettings(given: TrainConfig, { config, lora }: TrainFlags): Promise<TrainConfig> {
  const before = given.resume && given.output !== undefined ? join(given.output, RUN_FILE) : undefined;
  const file = config ?? (before !== undefined && existsSync(before) ? before : undefined);
  const base = file === undefined ? {} : await readConfig(file);
  if (given.lora && !lora && !base.lora) {
    const [name] = Object.keys(given.lora);
    throw new UsageError(`--${flagOf(settingsByPath.get(`lora.${name}`)!)} is a setting of LoRA: give --lora too.`);
  }
  return mergeConfig(base, given);
}

function requireRunnable(config: TrainConfig): asserts config is CompleteConfig {
  const { output, resume, lora, freeze } = config;
  if (output === undefined) throw new UsageError('--out is required: the folder to write the run to.');
  if (lora && freeze) throw new UsageError('freeze: LoRA freezes everything but itself; leave one of the two out.');
  if (!resume && existsSync(join(output, 'latest'))) {
    throw new UsageError(`${output} holds a run already: go on with --resume, or name another folder with --out.`);
  }
}

/** What is the Trainer's of the settings. */
function trainerSettings({ data, valid, task, model, revision, backend, imageSize, freeze, ...rest }: CompleteConfig) {
  return { ...rest, freeze: freeze?.map(readPattern) };
}

/** `/text/` is a regular expression. */
function readPattern(text: string): string | RegExp {
  if (!/^\/.+\/$/.test(text)) return text;
  try {
    return new RegExp(text.slice(1, -1));
  } catch (error) {
    throw new UsageError(`freeze: ${text} is no regular expression: ${(error as Error).message}.`);
  }
}

function dataLines(train: WeightedDataset[], valid: Dataset | undefined): string[] {
  const images = ({ name, length }: Dataset) => `${name} (${length} images)`;
  const weighted = ({ dataset, weight }: WeightedDataset) => images(dataset) + (weight === 1 ? '' : ` × ${weight}`);
  return [`Training data: ${train.map(weighted).join(', ')}`, `Validation data: ${valid ? images(valid) : 'none'}`];
}

function summaryLines(
  { steps, loss, best, stopped }: TrainingSummary,
  { output, lora, newTokens }: CompleteConfig,
): string[] {
  const kind = lora ? 'adapter' : 'checkpoint';
  return [
    `${stopped ? 'Stopped after' : 'Trained'} ${steps} steps${Number.isNaN(loss) ? '' : `, loss ${loss.toFixed(4)}`}`,
    ...(best
      ? [`best      ${kind} of step ${best.step}, validation loss ${best.loss.toFixed(4)}: ${join(output, 'best')}`]
      : []),
    `latest    ${kind}: ${join(output, 'latest')}`,
    ...(lora && newTokens
      ? [`base      checkpoint with the new tokens, for the adapter: ${join(output, 'base')}`]
      : []),
    `curves    ${join(output, 'curves.svg')}`,
    ...(stopped ? [`go on     florence2 train --out ${output} --resume`] : []),
  ];
}

/** What is given on the command line beside settings. */
export interface TrainFlags {
  lora?: boolean;
  config?: string;
  check?: boolean;
}
