import { Presets, SingleBar } from 'cli-progress';
import type { Progress } from '../checkpoint/load.ts';

const MB = 1e6;

/** Bars on stderr, and only where a person watches it: one stage after the other, each with a bar of its own. */
export class ProgressBars {
  private bar?: SingleBar;
  private stage = '';

  /** Follows downloads and the loading of weights. */
  readonly onProgress = ({ stage, file, loaded, total }: Progress): void => {
    const name = stage === 'download' ? `Downloading ${file?.split('/').at(-1) ?? ''}` : 'Loading weights';
    this.show(name, loaded / MB, total / MB, 'MB');
  };

  /** Moves the bar of `stage` to `done` of `total`; a new stage closes the bar before it. */
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

  /** Removes the bar, so that other lines can be written. */
  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
    this.stage = '';
  }
}
