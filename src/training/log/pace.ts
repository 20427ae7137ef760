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
