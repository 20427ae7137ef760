import { SingleBar } from 'cli-progress';
import { mainMetric } from '../../evaluation/evaluator.ts';
import { taskInfo } from '../../text/tasks.ts';
import type { StepRecord, ValidationMeans, ValidationRecord } from '../../training/log/records.ts';
import { duration } from '../print/numbers.ts';
import { escapeControls } from '../print/terminal.ts';

export interface LiveOptions {
  /** Where the lines are written. Default stderr. */
  stream?: NodeJS.WriteStream;
  /** Minimum time between two lines if the stream is not a terminal. Default 10. */
  secondsBetweenLines?: number;
}

/**
 * Shows the progress of a training run: on a terminal one line that is updated at each step, elsewhere a new line every
 * few seconds. Validations are always printed on a new line.
 */
export class LiveLine {
  private readonly stream: NodeJS.WriteStream;
  private readonly pause: number; // milliseconds
  private written = Number.NEGATIVE_INFINITY;
  private bar?: SingleBar;

  constructor({ stream = process.stderr, secondsBetweenLines = 10 }: LiveOptions = {}) {
    this.stream = stream;
    this.pause = 1000 * secondsBetweenLines;
  }

  readonly step = (record: StepRecord): void => {
    if (this.stream.isTTY) this.show(stepLine(record));
    else if (performance.now() - this.written >= this.pause) {
      this.stream.write(`${stepLine(record)}\n`);
      this.written = performance.now();
    }
  };

  readonly validating = (done: number, total: number): void => {
    if (this.stream.isTTY) this.show(`validating  ${done} of ${total} images`);
  };

  readonly validation = (record: ValidationRecord): void => {
    this.stop();
    this.stream.write(`${escapeControls(validationLine(record))}\n`);
  };

  /** Removes the line, so that other output can be written. */
  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
  }

  private show(line: string): void {
    if (!this.bar) {
      this.bar = new SingleBar({ format: '{line}', stream: this.stream, hideCursor: true, clearOnComplete: true });
      this.bar.start(1, 0, { line });
    }
    this.bar.update(0, { line });
  }
}

/** Formats a step: `epoch 1.25  step 500  loss 0.412  rate 9.5e-5  3.2 samples/s  1 h 12 min left` */
export function stepLine({ epoch, step, loss, learningRate, samplesPerSecond, secondsLeft }: StepRecord): string {
  return [
    `epoch ${epoch.toFixed(2)}`,
    `step ${step}`,
    `loss ${loss.toFixed(3)}`,
    `rate ${learningRate.toExponential(1)}`,
    `${samplesPerSecond.toPrecision(3)} samples/s`,
    ...(Number.isFinite(secondsLeft) ? [`${duration(secondsLeft)} left`] : []),
  ].join('  ');
}

/**
 * Formats a validation: `validation at step 500: loss 0.386  od mAP 0.512  caption editSimilarity 0.731`, and with several
 * datasets a line for each of them.
 */
export function validationLine({ step, datasets = [], ...means }: ValidationRecord): string {
  return [
    `validation at step ${step}: ${meansLine(means)}`,
    ...datasets.map(({ name, images, ...means }) => `  ${name} (${images} images): ${meansLine(means)}`),
  ].join('\n');
}

function meansLine({ loss, metrics }: ValidationMeans): string {
  const tasks = Object.entries(metrics).flatMap(([task, values]) => {
    const name = mainMetric(values);
    return name ? [`${taskInfo(task)?.name ?? task} ${name} ${values[name].toFixed(3)}`] : [];
  });
  return [`loss ${loss.toFixed(3)}`, ...tasks].join('  ');
}
