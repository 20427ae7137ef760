import { Presets, SingleBar } from 'cli-progress';
import type { Progress } from '../checkpoint/load.ts';

const MB = 1e6;

/** Progress bars on stderr, one per stage. They are shown only if stderr is a terminal. */
export class ProgressBars {
  private bar?: SingleBar;
  private stage = '';

  /** Shows downloads and the loading of weights: the option `onProgress` of `Florence2.load`. */
  readonly onProgress = ({ stage, file, loaded, total }: Progress): void => {
    const name = stage === 'download' ? `Downloading ${file?.split('/').at(-1) ?? ''}` : 'Loading weights';
    this.show(name, loaded / MB, total / MB, 'MB');
  };

  /** Sets the bar of `stage` to `done` of `total`. A new stage removes the previous bar. */
  show(stage: string, done: number, total: number, unit: string): void {
    if (!process.stderr.isTTY) return;
    if (stage !== this.stage) {
      this.stop();
      this.stage = stage;
      const format = `${stage} {bar} {value} of {total} ${unit}, {eta_formatted} left`;
      this.bar = new SingleBar(
        { format, stream: process.stderr, hideCursor: true, clearOnComplete: true },
        Presets.shades_classic,
      );
      this.bar.start(Math.ceil(total), 0);
    }
    this.bar?.update(Math.floor(done));
  }

  /** Removes the bar, so that other output can be written. */
  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
    this.stage = '';
  }
}
