import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../../files/write.ts';
import { isRecord } from '../../json.ts';
import { drawCurves } from './curves.ts';
import { metricsCsv, type StepRecord, stepScalars, type ValidationRecord, validationScalars } from './records.ts';
import { EventFile } from './tensorboard.ts';

/** A line of metrics.jsonl. */
export type LogLine = ({ kind: 'step' } & StepRecord) | ({ kind: 'validation' } & ValidationRecord);

/** Interval at which steps write curves.svg and metrics.csv again. */
const REDRAW_SECONDS = 60;

/**
 * Writes the log of a run to its folder: metrics.jsonl with a line for each step and validation, the same values as
 * TensorBoard events, and from all of them curves.svg and metrics.csv. Each line is written immediately, so that a killed
 * process loses none.
 */
export class RunLog {
  private drawn = performance.now();

  private constructor(
    private readonly folder: string,
    private readonly steps: StepRecord[],
    private readonly validations: ValidationRecord[],
    private readonly lines: FileHandle,
    private readonly events: EventFile,
  ) {}

  /**
   * Opens the log of a run. The folder must exist.
   *
   * @param resumeFromStep the number of steps completed: entries of later steps, from before an interruption, are
   *   dropped, as are incomplete lines. Default 0: a new run
   */
  static async open(folder: string, { resumeFromStep = 0 }: { resumeFromStep?: number } = {}): Promise<RunLog> {
    const file = join(folder, 'metrics.jsonl');
    const kept = (await readLog(file)).filter(({ step }) => step <= resumeFromStep);
    await writeWhole(file, Buffer.from(kept.map(line => `${JSON.stringify(line)}\n`).join('')));
    const steps = kept.filter(line => line.kind === 'step');
    const validations = kept.filter(line => line.kind === 'validation');
    const lines = await open(file, 'a');
    return new RunLog(folder, steps, validations, lines, await EventFile.create(folder, resumeFromStep + 1));
  }

  async step(record: StepRecord): Promise<void> {
    this.steps.push(record);
    await this.write({ kind: 'step', ...record });
    await this.events.scalars(record.step, stepScalars(record));
    if (performance.now() - this.drawn > 1000 * REDRAW_SECONDS) await this.draw();
  }

  async validation(record: ValidationRecord): Promise<void> {
    this.validations.push(record);
    await this.write({ kind: 'validation', ...record });
    await this.events.scalars(record.step, validationScalars(record));
    await this.draw();
  }

  /** Flushes the entries so far to the disk, so that a power cut does not lose them. */
  async flush(): Promise<void> {
    await this.lines.sync();
    await this.events.flush();
  }

  async close(): Promise<void> {
    await this.draw();
    await this.lines.close();
    await this.events.close();
  }

  private async write(line: LogLine): Promise<void> {
    await this.lines.appendFile(`${JSON.stringify(line)}\n`);
  }

  private async draw(): Promise<void> {
    await writeWhole(join(this.folder, 'curves.svg'), Buffer.from(drawCurves(this.steps, this.validations)));
    await writeWhole(join(this.folder, 'metrics.csv'), Buffer.from(metricsCsv(this.steps, this.validations)));
    this.drawn = performance.now();
  }
}

/** Reads the lines of metrics.jsonl, none if the file does not exist. Skips incomplete lines. */
export async function readLog(file: string): Promise<LogLine[]> {
  const text = await readFile(file, 'utf8').catch(error => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  });
  return text.split('\n').flatMap(line => parseLine(line) ?? []);
}

function parseLine(line: string): LogLine | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) && Number.isInteger(value.step) && 'kind' in value
      ? (value as unknown as LogLine)
      : undefined;
  } catch {
    return undefined;
  }
}
