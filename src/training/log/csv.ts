import { type StepRecord, stepScalars, type ValidationRecord, validationScalars } from './records.ts';

/**
 * Returns the log of a run as a table in CSV (RFC 4180): a row for each step, with the values of a validation in the row of
 * the step before it. Columns are `step`, `epoch` and the names of TensorBoard's scalars. Values that a step does not have,
 * and those that are not finite, are empty.
 */
export function metricsCsv(steps: readonly StepRecord[], validations: readonly ValidationRecord[]): string {
  const rows = new Map<number, Record<string, number>>();
  for (const record of steps) rows.set(record.step, { epoch: record.epoch, ...stepScalars(record) });
  for (const record of validations) {
    const { step, epoch } = record;
    rows.set(step, { ...(rows.get(step) ?? { epoch }), ...validationScalars(record) });
  }
  const columns = [...new Set([...rows.values()].flatMap(Object.keys))];
  const lines = [...rows]
    .sort(([a], [b]) => a - b)
    .map(([step, values]) => [step, ...columns.map(name => (Number.isFinite(values[name]) ? values[name] : ''))]);
  return [['step', ...columns.map(cell)], ...lines].map(line => `${line.join(',')}\r\n`).join('');
}

/** Quotes a text that contains a separator. */
const cell = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
