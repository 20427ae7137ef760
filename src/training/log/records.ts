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
  /** Estimated time to the end of the run. */
  secondsLeft: number;
  /** Mean loss by task (see `taskKey`). */
  taskLosses: Record<string, number>;
}

/** Results of one validation. */
export interface ValidationRecord {
  /** Number of training steps before it. */
  step: number;
  /** Passes over the training data before it, as a fraction. */
  epoch: number;
  /** Mean loss over all answer tokens. */
  loss: number;
  /** Metrics by task and name (see `Evaluator`). */
  metrics: Record<string, Record<string, number>>;
  /** Mean loss by task. */
  taskLosses: Record<string, number>;
}

/** Measures the speed of a run over its last steps, without validations and saves. */
export class Pace {
  private readonly steps: { seconds: number; targets: number }[] = [];
  private before = performance.now();

  /** @param window number of steps to average over */
  constructor(private readonly window = 20) {}

  /** Records the end of a step. */
  add(targets: number): void {
    const now = performance.now();
    this.steps.push({ seconds: (now - this.before) / 1000, targets });
    if (this.steps.length > this.window) this.steps.shift();
    this.before = now;
  }

  /** Restarts the clock after a validation or save. */
  resume(): void {
    this.before = performance.now();
  }

  get secondsPerStep(): number {
    return this.total('seconds') / this.steps.length;
  }

  /** Targets per second. */
  get perSecond(): number {
    return this.total('targets') / this.total('seconds');
  }

  private total(what: 'seconds' | 'targets'): number {
    return this.steps.reduce((sum, step) => sum + step[what], 0);
  }
}
