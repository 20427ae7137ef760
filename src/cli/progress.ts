import { SingleBar } from 'cli-progress';
import type { Progress } from '../checkpoint/load.ts';
import { duration } from './print/numbers.ts';
import { nameOnOneLine } from './print/terminal.ts';

const MB = 1e6;

/** Progress bars on stderr, one per stage. They are shown only if stderr is a terminal. */
export class ProgressBars {
  private bar?: SingleBar;
  private stage = '';
  private since = 0; // milliseconds

  /** Shows downloads and the loading of weights: the option `onProgress` of `Florence2.load`. */
  readonly onProgress = ({ stage, file, loaded, total }: Progress): void => {
    const name = stage === 'download' ? `Downloading ${file?.split('/').at(-1) ?? ''}` : 'Loading weights';
    this.show(name, loaded / MB, total / MB, 'MB');
  };

  /** Sets the bar of `stage` to `done` of `total`, which may be unknown (NaN). A new stage removes the previous bar. */
  show(stage: string, done: number, total: number, unit: string): void {
    if (!process.stderr.isTTY) return;
    if (stage !== this.stage) {
      this.stop();
      this.stage = stage;
      this.since = performance.now();
      this.bar = new SingleBar({ format: '{line}', stream: process.stderr, hideCursor: true, clearOnComplete: true });
      this.bar.start(1, 0, { line: '' });
    }
    const seconds = (performance.now() - this.since) / 1000;
    this.bar?.update(0, { line: progressLine(nameOnOneLine(stage), { done, total, unit, seconds }) });
  }

  /** Removes the bar, so that other output can be written. */
  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
    this.stage = '';
  }
}

const BAR = 30; // characters

/**
 * Formats the progress of a stage: a bar, numbers, and the time left if it can be estimated.
 *
 * @param total may be unknown: 0, NaN or infinite
 */
export function progressLine(
  stage: string,
  { done, total, unit, seconds }: { done: number; total: number; unit: string; seconds: number },
): string {
  const [shown, known] = [Math.floor(done), Number.isFinite(total) && total > 0];
  if (!known) return `${stage} ${shown} ${unit}`;
  const share = Math.min(1, done / total);
  const bar = '█'.repeat(Math.floor(BAR * share)).padEnd(BAR, '░');
  const left = share > 0 && seconds >= 1 ? `, ${duration((seconds * (1 - share)) / share)} left` : '';
  return `${stage} ${bar} ${shown} of ${Math.ceil(total)} ${unit}${left}`;
}
