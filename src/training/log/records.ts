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

/** Measures the speed of a run over its last steps, without saves. */
export class Pace {
  private readonly steps: { seconds: number; targets: number }[] = [];
  private before = performance.now();
  private secondsPerValidation = 0;

  /** @param window number of steps to average over */
  constructor(private readonly window = 20) {}

  /** Records the end of a step. */
  add(targets: number): void {
    const now = performance.now();
    this.steps.push({ seconds: (now - this.before) / 1000, targets });
    if (this.steps.length > this.window) this.steps.shift();
    this.before = now;
  }

  /** Restarts the clock after a save. */
  resume(): void {
    this.before = performance.now();
  }

  /** Records the end of a validation that ran since the last step. */
  addValidation(): void {
    this.secondsPerValidation = (performance.now() - this.before) / 1000;
    this.resume();
  }

  /** Returns the estimated time of some steps and validations. A validation takes as long as the last one. */
  secondsFor(steps: number, validations: number): number {
    return (steps * this.total('seconds')) / this.steps.length + validations * this.secondsPerValidation;
  }

  /** Targets per second. */
  get perSecond(): number {
    return this.total('targets') / this.total('seconds');
  }

  private total(what: 'seconds' | 'targets'): number {
    return this.steps.reduce((sum, step) => sum + step[what], 0);
  }
}
