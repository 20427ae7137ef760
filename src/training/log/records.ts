/** One optimizer step. */
export interface StepRecord {
  /** Steps done, this one included: 1 for the first. */
  step: number;
  epoch: number;
  /** Mean over the step's answer tokens. */
  loss: number;
  learningRate: number;
  /** Global norm of the gradients before they are clipped. */
  gradNorm: number;
  samplesPerSecond: number;
  /** Time left to the end of the run, as the speed so far has it. */
  secondsLeft: number;
  /** By task (see `taskKey`). */
  taskLosses: Record<string, number>;
}

/** One validation, after `step` steps. */
export interface ValidationRecord {
  step: number;
  epoch: number;
  loss: number;
  /** By task, the metrics by name (see `Evaluator`). */
  metrics: Record<string, Record<string, number>>;
  taskLosses: Record<string, number>;
}

/** How fast a run goes, over its last steps; validations and saves do not count. */
export class Pace {
  private readonly steps: { seconds: number; targets: number }[] = [];
  private before = performance.now();

  /** @param window steps that the means are over */
  constructor(private readonly window = 20) {}

  /** A step has ended. */
  add(targets: number): void {
    const now = performance.now();
    this.steps.push({ seconds: (now - this.before) / 1000, targets });
    if (this.steps.length > this.window) this.steps.shift();
    this.before = now;
  }

  /** Goes on after something that was no step. */
  resume(): void {
    this.before = performance.now();
  }

  get secondsPerStep(): number {
    return this.total('seconds') / this.steps.length;
  }

  /** Targets a second. */
  get perSecond(): number {
    return this.total('targets') / this.total('seconds');
  }

  private total(what: 'seconds' | 'targets'): number {
    return this.steps.reduce((sum, step) => sum + step[what], 0);
  }
}
