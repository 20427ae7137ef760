import { UsageError } from '../errors.ts';
import { METRICS } from '../evaluation/evaluator.ts';
import { listNames, suggestName } from '../names.ts';
import { resolveTask, taskInfo } from '../text/tasks.ts';
import type { ValidationMeans } from './log/records.ts';

/** The best validation of a run so far, whose weights are in `best/`. */
export interface BestValidation {
  step: number;
  loss: number;
  /** What decides: `loss`, or a metric as in `TrainerOptions.bestBy`. */
  by: string;
  /** Its value. */
  value: number;
}

/** Decides which validation is the best: the one with the lowest loss, or with the highest value of a metric. */
export class Criterion {
  private readonly task: string | null;
  private readonly metric: string;

  /**
   * @param name `loss`; `od/mAP` for a metric of one task; `mAP` for its mean over all tasks that have it
   * @throws UsageError for a task or a metric that does not exist
   */
  constructor(private readonly name: string) {
    const [, task = null, metric] = /^(?:([^/]+)\/)?(.+)$/s.exec(name) ?? [null, null, name];
    this.task = task === null || task === 'prompt' ? task : resolveTask(task);
    this.metric = metric;
    if (task === null && metric === 'loss') return;
    if (METRICS.includes(metric) || (task !== null && metric.startsWith('AP/'))) return;
    const hint = suggestName(metric, ['loss', ...METRICS], 'Metrics');
    throw new UsageError(`bestBy is ${name}, which is no metric. ${hint}`);
  }

  /**
   * Returns the value of a validation.
   *
   * @throws UsageError if it has no such metric
   */
  valueOf({ loss, metrics }: ValidationMeans): number {
    if (this.name === 'loss') return loss;
    const tasks = this.task === null ? Object.values(metrics) : [metrics[this.task] ?? {}];
    const values = tasks.flatMap(values => values[this.metric] ?? []);
    if (values.length > 0) return values.reduce((sum, value) => sum + value, 0) / values.length;
    const names = Object.entries(metrics).flatMap(([task, values]) =>
      Object.keys(values).map(metric => `${taskInfo(task)?.name ?? task}/${metric}`),
    );
    throw new UsageError(`The validation data have no metric ${this.name}. They have: ${listNames(names, 'and')}.`);
  }

  /** Whether a validation of this value is better than the best so far. A value that is not a number never is. */
  isBetter(value: number, best: BestValidation | null): boolean {
    if (Number.isNaN(value)) return false;
    if (best?.by !== this.name) return true;
    return this.name === 'loss' ? value < best.value : value > best.value;
  }
}
