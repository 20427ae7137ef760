import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Dataset } from '../../datasets/example.ts';
import { UsageError } from '../../errors.ts';
import { writeWhole } from '../../files/write.ts';
import type { StepRecord } from '../../training/log/records.ts';
import { readLog } from '../../training/log/run_log.ts';
import type { WeightedDataset } from '../../training/mixture.ts';
import { Trainer, type TrainingSummary } from '../../training/trainer.ts';
import { interruptSignal, stoppedCode } from '../exit.ts';
import { loadModel } from '../load_model.ts';
import { classLines } from '../print/classes.ts';
import { print, printNote } from '../print/terminal.ts';
import { checkBeforeTraining, checkData, refuse } from '../train/check.ts';
import { mergeConfig, readConfig, type TrainConfig } from '../train/config.ts';
import { openData } from '../train/datasets.ts';
import { LiveLine } from '../train/live.ts';
import { flagOf, SETTINGS_BY_PATH } from '../train/settings.ts';

/** Settings with the data and the output folder that training requires. */
type CompleteConfig = TrainConfig & Required<Pick<TrainConfig, 'output' | 'data'>>;

/** Examples that cannot be read that are listed at the end of a run. */
const listed = 20;

/** The file in a run's folder that holds its settings. `--resume` reads them from there. */
const RUN_FILE = 'run.json';

/** Name in the model of the adapter that is trained further. */
const START = 'start';

/** Checks the data, or trains. All settings are checked before the model is loaded. */
export async function runTrain(given: TrainConfig, flags: TrainFlags): Promise<void> {
  const config = await readSettings(given, flags);
  if (!config.data) throw new UsageError('--data is required: a dataset to train on.');
  if (flags.check) return checkData(config, flags.decode ?? false);
  if (flags.decode) throw new UsageError('--decode belongs to --check: training decodes the images anyway.');
  requireRunnable(config);
  const signal = interruptSignal();
  const data = await openData(config);
  const { train, valid, problems } = data;
  if (!config.skipBad) refuse(problems);
  const leftOut = problems.filter(({ severity }) => severity === 'error').map(({ source, message }) => `${source}: ${message}`); // biome-ignore format: one line
  printNote(...dataLines(train, valid));
  const { model = SETTINGS_BY_PATH.get('model')!.default as string, ...rest } = config;
  const { revision, subfolder, processor, backend, imageSize } = rest;
  const florence = await loadModel({ model, revision, subfolder, processor, backend, imageSize });
  const live = new LiveLine();
  let steps = 0;
  const onStep = (record: StepRecord): void => {
    steps++;
    live.step(record);
  };
  try {
    if (config.adapter) await florence.loadAdapter(config.adapter, { name: START });
    await checkBeforeTraining(data, florence, config.skipBad ?? false);
    const trainer = new Trainer(florence, {
      ...trainerSettings(config),
      ...{ train, valid, onStep },
      ...{ onValidation: live.validation, onValidationProgress: live.validating },
    });
    const { resume, force, ...settings } = { ...config, ...absolutePaths(config) };
    const summary = await trainer.run({
      signal,
      // Only now: if the run cannot be resumed with these settings, its old file stays.
      onStart: () => writeWhole(join(config.output, RUN_FILE), Buffer.from(`${JSON.stringify(settings, null, 2)}\n`)),
    });
    live.stop();
    const missing = [...leftOut, ...summary.skipped];
    if (missing.length > 0) printNote(...leftOutLines(missing));
    if (steps === 0 && !summary.stopped) {
      printNote('Nothing was left to do: raise --epochs, --max-steps or --patience to train on.');
    }
    print(...summaryLines(summary, config));
    if (summary.best && !summary.stopped) print(...(await bestClasses(config.output, summary.best.step)));
    if (summary.stopped) process.exitCode = stoppedCode();
  } finally {
    live.stop();
    florence.dispose();
  }
}

/** Returns the settings of the config file, or those of the resumed run, with the flags on top. */
async function readSettings(given: TrainConfig, { config, lora }: TrainFlags): Promise<TrainConfig> {
  const before = given.resume && given.output !== undefined ? join(given.output, RUN_FILE) : undefined;
  if (before && !existsSync(before) && !existsSync(join(given.output!, 'latest'))) {
    throw new UsageError(`${given.output} holds no run to resume.`);
  }
  const file = config ?? (before !== undefined && existsSync(before) ? before : undefined);
  const base = file === undefined ? {} : await readConfig(file);
  if (given.lora && !lora && !base.lora) {
    const [name] = Object.keys(given.lora);
    throw new UsageError(`--${flagOf(SETTINGS_BY_PATH.get(`lora.${name}`)!)} is a setting of LoRA: add --lora.`);
  }
  return mergeConfig(base, given);
}

/** Returns the paths of a run's settings as absolute ones, so that it can be resumed from any directory. */
function absolutePaths({ data, valid, model, adapter, output }: CompleteConfig): Partial<TrainConfig> {
  const isFolder = model !== undefined && existsSync(join(model, 'config.json'));
  return {
    data: data.map(path => resolve(path)),
    output: resolve(output),
    ...(valid !== undefined && { valid: resolve(valid) }),
    ...(isFolder && { model: resolve(model) }),
    ...(adapter !== undefined && existsSync(adapter) && { adapter: resolve(adapter) }),
  };
}

function requireRunnable(config: TrainConfig): asserts config is CompleteConfig {
  const { output, resume, lora, freeze, adapter } = config;
  if (output === undefined) throw new UsageError('--out is required: the folder to write the run to.');
  if (adapter && (lora || freeze)) {
    throw new UsageError(
      '--adapter trains an adapter further, with its own settings: remove those of LoRA, and freeze.',
    );
  }
  if (lora && freeze)
    throw new UsageError('freeze: LoRA already freezes everything except the adapter; remove one of the two.');
  if (!resume && existsSync(join(output, 'latest'))) {
    throw new UsageError(
      `${output} already holds a run: continue it with --resume, or give another folder with --out.`,
    );
  }
}

/** Returns the settings that are options of the Trainer. */
function trainerSettings({
  data,
  valid,
  task,
  imageRoot,
  holdout,
  oversample,
  negatives,
  model,
  revision,
  subfolder,
  processor,
  backend,
  imageSize,
  freeze,
  adapter,
  ...rest
}: CompleteConfig) {
  return { ...rest, ...(adapter && { lora: START }), freeze: freeze?.map(readPattern) };
}

/** Returns a regular expression for `/text/`, else the text itself. */
function readPattern(text: string): string | RegExp {
  if (!/^\/.+\/$/.test(text)) return text;
  try {
    return new RegExp(text.slice(1, -1));
  } catch (error) {
    throw new UsageError(`freeze: ${text} is not a valid regular expression: ${(error as Error).message}.`, {
      cause: error,
    });
  }
}

function dataLines(train: WeightedDataset[], valid: Dataset[]): string[] {
  const images = ({ name, length }: Dataset) => `${name} (${length} images)`;
  const weighted = ({ dataset, weight }: WeightedDataset) => images(dataset) + (weight === 1 ? '' : ` × ${weight}`);
  return [
    `Training data: ${train.map(weighted).join(', ')}`,
    `Validation data: ${valid.map(images).join(', ') || 'none'}`,
  ];
}

/** Returns the count of examples that were left out and the first of them. */
function leftOutLines(messages: string[]): string[] {
  const more = messages.length > listed ? [`  … and ${messages.length - listed} more (--check lists all)`] : [];
  const lines = messages.slice(0, listed).map(message => `  ${message}`);
  return [`Left out ${messages.length} examples that cannot be read:`, ...lines, ...more];
}

function summaryLines(
  { steps, loss, best, stopped, endedEarly }: TrainingSummary,
  { output, lora, adapter, newTokens }: CompleteConfig,
): string[] {
  const kind = lora || adapter ? 'adapter' : 'checkpoint';
  return [
    `${stopped ? 'Stopped after' : 'Trained'} ${steps} steps${Number.isNaN(loss) ? '' : `, loss ${loss.toFixed(4)}`}`,
    ...(endedEarly ? [`ended     early: no better validation since step ${best!.step}`] : []),
    ...(best ? [`best      ${kind} of step ${best.step}, ${bestValue(best)}: ${join(output, 'best')}`] : []),
    `latest    ${kind}: ${join(output, 'latest')}`,
    ...(lora && newTokens
      ? [`base      checkpoint with the new tokens, for the adapter: ${join(output, 'base')}`]
      : []),
    `curves    ${join(output, 'curves.svg')}`,
    ...(stopped ? [`continue  florence2 train --out ${output} --resume`] : []),
  ];
}

/** Returns the table of the classes of the best validation. */
async function bestClasses(output: string, step: number): Promise<string[]> {
  const log = await readLog(join(output, 'metrics.jsonl'));
  const best = log.find(line => line.kind === 'validation' && line.step === step);
  return best?.kind === 'validation' ? classLines(best) : [];
}

const bestValue = ({ by, value }: NonNullable<TrainingSummary['best']>): string =>
  `${by === 'loss' ? 'validation loss' : by} ${value.toFixed(4)}`;

/** Flags of `train` that are not settings. */
export interface TrainFlags {
  lora?: boolean;
  config?: string;
  check?: boolean;
  decode?: boolean;
}
