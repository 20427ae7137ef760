import { csvLine } from '../../files/lines.ts';
import { taskInfo } from '../../text/tasks.ts';

/** Measurements of one optimizer step. */
export interface StepRecord {
  /** Number of the step, counted from 1. */
  step: number;
  /** Passes over the training data so far, as a fraction. */
  epoch: number;
  /** Mean loss over the step's answer tokens. */
  loss: number;
  learningRate: number;
  /** Global norm of the gradients before clipping. */
  gradNorm: number;
  /** Targets per second, averaged over the last steps. */
  samplesPerSecond: number;
  /** Estimated time to the end of the run, with its validations after the first. */
  secondsLeft: number;
  /** Mean loss by task (see `taskKey`). */
  taskLosses: Record<string, number>;
}

/** What a validation measured on one dataset, or on all of them. */
export interface ValidationMeans {
  /** Mean loss over all answer tokens, weighted as the training loss. */
  loss: number;
  /** Mean loss by task. */
  taskLosses: Record<string, number>;
  /** Metrics by task and name (see `Evaluator`). */
  metrics: Record<string, Record<string, number>>;
}

/** What a validation measured. */
export interface ValidationOutcome extends ValidationMeans {
  /** The same for each dataset; absent if there is one. */
  datasets?: ({ name: string; images: number } & ValidationMeans)[];
}

/** Called during a validation with the number of images that are done and that of all. */
export type ValidationProgress = (done: number, total: number) => void;

/** Results of one validation. */
export interface ValidationRecord extends ValidationOutcome {
  /** Number of training steps before it. */
  step: number;
  /** Passes over the training data before it, as a fraction. */
  epoch: number;
}

/** Returns the values of a step for a chart or a table: `train/loss`, `train/<task>/loss` and others. */
export function stepScalars(record: StepRecord): Record<string, number> {
  const { loss, learningRate, gradNorm, samplesPerSecond, taskLosses } = record;
  return grouped('train', { loss, learningRate, gradNorm, samplesPerSecond, ...lossesByTask(taskLosses) });
}

/** The same of a validation: `valid/loss`, `valid/<task>/<metric>`, and with several datasets `valid of <dataset>/…`. */
export function validationScalars(record: ValidationRecord): Record<string, number> {
  const parts = (record.datasets ?? []).map(dataset => grouped(`valid of ${dataset.name}`, meansByTask(dataset)));
  return Object.assign(grouped('valid', meansByTask(record)), ...parts);
}

function meansByTask({ loss, metrics, taskLosses }: ValidationMeans): Record<string, number> {
  const byTask = Object.entries(metrics).map(([task, values]) => grouped(nameOf(task), values));
  return Object.assign({ loss, ...lossesByTask(taskLosses) }, ...byTask);
}

const nameOf = (task: string): string => taskInfo(task)?.name ?? task;

const lossesByTask = (losses: Record<string, number>): Record<string, number> =>
  Object.fromEntries(Object.entries(losses).map(([task, loss]) => [`${nameOf(task)}/loss`, loss]));

const grouped = (group: string, values: Record<string, number>): Record<string, number> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`${group}/${name}`, value]));

/**
 * Returns the log of a run as a table in CSV (RFC 4180): a row for each step, with the values of a validation in the row of
 * the step before it. Columns are `step`, `epoch` and the names of TensorBoard's scalars. Values that a step does not have,
 * and those that are not finite, are empty.
 */
export function metricsCsv(steps: readonly StepRecord[], validations: readonly ValidationRecord[]): string {
  const rows = new Map<number, Record<string, number>>();
  for (const record of steps) rows.set(record.step, { epoch: record.epoch, ...stepScalars(record) });
  for (const record of validations) {
    const { step, epoch } = record;
    rows.set(step, { ...(rows.get(step) ?? { epoch }), ...validationScalars(record) });
  }
  const columns = [...new Set([...rows.values()].flatMap(Object.keys))];
  const lines = [...rows]
    .sort(([a], [b]) => a - b)
    .map(([step, values]) => [step, ...columns.map(name => (Number.isFinite(values[name]) ? values[name] : ''))]);
  return [['step', ...columns], ...lines].map(line => `${csvLine(line)}\r\n`).join('');
}
