import { DetectionMetric } from '../../evaluation/detection.ts';

/** What is kept of the answers to one task. */
export class Measures {
  /** Answers judged. */
  count = 0;
  readonly detection = new DetectionMetric();
  /** Whether classes are few enough to have metrics of their own. */
  perClass = false;
  private readonly means = new Map<string, { sum: number; count: number }>();

  /** Adds values to a mean. */
  add(name: string, ...values: number[]): void {
    const mean = this.means.get(name) ?? { sum: 0, count: 0 };
    this.means.set(name, mean);
    for (const value of values) mean.sum += value;
    mean.count += values.length;
  }

  /** All metrics that there are answers for. */
  metrics(): Record<string, number> {
    const means = [...this.means].filter(([, { count }]) => count > 0);
    return {
      ...this.detection.metrics(),
      ...Object.fromEntries(means.map(([name, { sum, count }]) => [name, sum / count])),
      count: this.count,
      ...(this.perClass ? this.detection.perClass() : {}),
    };
  }
}
