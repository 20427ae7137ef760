import type { Draw } from './mixture.ts';
import { epochLength, epochOrder } from './mixture.ts';

/** An optimizer step and its examples. */
export interface PlannedStep {
  step: number; // counted from 0
  epoch: number; // counted from 0
  draws: Draw[];
}

/** The examples of every step of a run. They depend only on the seed, so a resumed run continues with the same ones. */
export class Plan {
  /** The number of steps of the run. */
  readonly totalSteps: number;
  private readonly firstSteps: number[] = []; // first step of each epoch, then the number of steps
  private cached?: { epoch: number; order: Draw[] };

  /** @param imagesPerStep images of each step; the last step of an epoch may have fewer */
  constructor(
    private readonly parts: readonly { length: number; weight: number }[],
    private readonly seed: number,
    private readonly imagesPerStep: number,
    epochs: number,
    maxSteps = Number.POSITIVE_INFINITY,
  ) {
    let steps = 0;
    for (let epoch = 0; epoch < epochs; epoch++) {
      this.firstSteps.push(steps);
      steps += Math.ceil(epochLength(parts, epoch) / imagesPerStep);
    }
    this.firstSteps.push(steps);
    this.totalSteps = Math.min(steps, maxSteps);
  }

  /** Returns a step, counted from 0. */
  step(step: number): PlannedStep {
    const epoch = this.firstSteps.findLastIndex(first => first <= step);
    const from = (step - this.firstSteps[epoch]) * this.imagesPerStep;
    return { step, epoch, draws: this.order(epoch).slice(from, from + this.imagesPerStep) };
  }

  /** Whether this is the last step of its epoch. */
  endsEpoch(step: number): boolean {
    return this.firstSteps.includes(step + 1) || step + 1 === this.totalSteps;
  }

  /** Whether an action is due after `step` steps: every `every` steps and at the end, or by default after each epoch. */
  isDue(step: number, every: number | undefined): boolean {
    return every === undefined ? this.endsEpoch(step - 1) : step % every === 0 || step === this.totalSteps;
  }

  /** Returns how often such an action is due after the first `steps` steps. */
  timesAfter(steps: number, every: number | undefined): number {
    if (every !== undefined) return Math.ceil(this.totalSteps / every) - Math.floor(steps / every);
    const ends = this.firstSteps.slice(1).map(end => Math.min(end, this.totalSteps));
    return new Set(ends.filter(end => end > steps)).size;
  }

  /** Converts a number of steps to passes over the data, as a fraction. */
  epochsAt(steps: number): number {
    const epoch = Math.max(
      0,
      this.firstSteps.findLastIndex(first => first < steps),
    );
    const [first, end] = this.firstSteps.slice(epoch, epoch + 2);
    return epoch + (steps - first) / (end - first);
  }

  private order(epoch: number): Draw[] {
    if (this.cached?.epoch !== epoch) this.cached = { epoch, order: epochOrder(this.parts, this.seed, epoch) };
    return this.cached.order;
  }
}
