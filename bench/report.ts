import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const results = fileURLToPath(new URL('./results/', import.meta.url));
const loadBefore = Number(loadavg()[0].toFixed(1));

/** The machine that the figures are measured on. */
export const machine = {
  cpu: cpus()[0].model,
  cores: cpus().length,
  memoryGB: Math.round(totalmem() / 1e9),
  node: process.version,
  loadBefore, // load average before the benchmark: other processes distort the times
};

/** Warns if the machine's load average at the start was above `most`. */
export function warnIfBusy(most: number): void {
  if (loadBefore > most) console.log(`The load average is ${loadBefore}: other processes distort these figures.`);
}

/** Writes bench/results/NAME.json: the figures, the date and the machine. */
export async function writeReport(name: string, figures: object): Promise<void> {
  await mkdir(results, { recursive: true });
  const report = { date: new Date().toISOString().slice(0, 10), machine, ...figures };
  await writeFile(join(results, `${name}.json`), `${JSON.stringify(report, null, 2)}\n`);
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** Collects the figures of a report and prints each one. */
export class Figures {
  readonly values: Record<string, number> = {};

  readonly record = (name: string, value: number): void => {
    this.values[name] = rounded(value);
    process.stdout.write(`${name.padEnd(64)} ${this.values[name]}\n`);
  };
}

export interface Spread {
  median: number;
  least: number;
  most: number;
}

export const spread = (values: number[]): Spread => ({
  median: rounded(median(values)),
  least: rounded(Math.min(...values)),
  most: rounded(Math.max(...values)),
});

/** Rounds to four significant digits. */
export const rounded = (value: number): number => Number(value.toPrecision(4));
