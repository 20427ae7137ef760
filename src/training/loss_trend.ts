import { Florence2Error } from '../errors.ts';

/** Losses and their means over the steps of a window, as a run saves them; the means are null before one is full. */
export interface TrendState {
  /** Mean over the first window of the run. */
  first: number | null;
  /** Lowest mean of any window. */
  best: number | null;
  /** Losses of the last steps; absent in runs of earlier versions. */
  window?: number[];
}

const windowSteps = 20;

/** Largest ratio of a window's mean to the best one. */
const most = 10;

/**
 * Watches the loss of a run for divergence: its mean over 20 steps is more than ten times the lowest such mean, and above
 * that of the first 20 steps. Single steps do not count, because their losses vary with their examples.
 */
export class LossTrend {
  private readonly window: number[];

  constructor(private state: TrendState = { first: null, best: null }) {
    this.window = [...(state.window ?? [])];
  }

  /** What to save with the run. */
  get saved(): TrendState {
    return { ...this.state, window: [...this.window] };
  }

  /**
   * Adds the loss of a step, counted from 1.
   *
   * @throws Florence2Error if the loss diverges
   */
  add(step: number, loss: number): void {
    this.window.push(loss);
    if (this.window.length > windowSteps) this.window.shift();
    if (this.window.length < windowSteps) return;
    const mean = this.window.reduce((sum, value) => sum + value, 0) / windowSteps;
    const { first, best } = { first: this.state.first ?? mean, best: Math.min(this.state.best ?? mean, mean) };
    this.state = { first, best };
    if (mean <= most * best || mean <= first) return;
    const [now, before, start] = [mean, best, first].map(value => value.toPrecision(3));
    throw new Florence2Error(
      `Step ${step}: the loss diverges. Its mean over ${windowSteps} steps is ${now}; it was ${before} at best and ${start} at the start. latest/ is the last save before; resume it with a lower learning rate (force).`,
    );
  }
}
