import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../../cli/outputs.ts';
import type { StepRecord, ValidationRecord } from './records.ts';

/** The records of a run, a line each in metrics.jsonl of its folder. */
export class RunLog {
  private constructor(private readonly file: string) {}

  /** @param resumeFromStep lines of later steps are dropped, and a last line that was cut off */
  static async open(folder: string, { resumeFromStep = 0 }: { resumeFromStep?: number } = {}): Promise<RunLog> {
    const file = join(folder, 'metrics.jsonl');
    const text = await readFile(file, 'utf8').catch(() => '');
    const lines = text.split('\n').slice(0, -1);
    const kept = lines.filter(line => JSON.parse(line).step <= resumeFromStep);
    await writeWhole(file, new TextEncoder().encode(kept.map(line => `${line}\n`).join('')));
    return new RunLog(file);
  }

  step(record: StepRecord): Promise<void> {
    return appendFile(this.file, `${JSON.stringify(record)}\n`);
  }

  validation(record: ValidationRecord): Promise<void> {
    return appendFile(this.file, `${JSON.stringify(record)}\n`);
  }

  async close(): Promise<void> {}
}
