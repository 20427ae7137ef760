import { relative } from 'node:path';
import type { BackendName } from '../../src/runtime/backend.ts';
import { BACKENDS } from './jobs.ts';
import type { Outcome } from './process.ts';

/** Files that take less are left out of the table of minutes. */
const SHORTEST_MINUTES = 0.2;

/** Number of failures: failed tests, and one for a crash or a timeout. */
export const failures = ({ failed, problem }: Outcome): number => failed + (problem ? 1 : 0);

const sum = (outcomes: Outcome[], of: (outcome: Outcome) => number): number =>
  outcomes.reduce((all, one) => all + of(one), 0);

/** Prints one line for a file, and its output where it failed. */
export function printOutcome(outcome: Outcome, folder: string): void {
  const { file, backend, passed, failed, skipped, seconds, problem, output } = outcome;
  const bad = failures(outcome) > 0;
  const counts = [`${passed} passed`, failed && `${failed} failed`, skipped && `${skipped} skipped`, problem];
  const name = relative(folder, file) + (backend ? ` [${backend}]` : '');
  console.log(`${bad ? '✗' : '✓'} ${name.padEnd(56)} ${counts.filter(Boolean).join(', ')}  (${seconds.toFixed(1)} s)`);
  if (bad) console.log(`\n${output.trim().replace(/^/gm, '    ')}\n`);
}

/** Prints minutes by file, a table by backend, and the closing line. */
export function printSummary(outcomes: Outcome[], folder: string, missing: Map<BackendName, string>): void {
  printMinutes(outcomes, folder);
  const row = (...cells: unknown[]) =>
    console.log(cells.map((cell, i) => (i ? String(cell).padStart(8) : String(cell).padEnd(12))).join(' '));
  console.log();
  row('backend', 'files', 'passed', 'failed', 'skipped', 'seconds');
  for (const backend of [undefined, ...BACKENDS]) {
    const list = outcomes.filter(outcome => outcome.backend === backend);
    const counts = [sum(list, o => o.passed), sum(list, failures), sum(list, o => o.skipped)];
    if (list.length > 0) row(backend ?? '(none)', list.length, ...counts, sum(list, o => o.seconds).toFixed(1));
    else if (backend && missing.has(backend)) console.log(`${backend.padEnd(12)} not run: ${missing.get(backend)}`);
  }
  const [passed, failed] = [sum(outcomes, o => o.passed), sum(outcomes, failures)];
  const skipped = sum(outcomes, o => o.skipped);
  console.log(`\n${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
}

/** Prints the files that took longest, over all backends, with the minutes on each. */
function printMinutes(outcomes: Outcome[], folder: string): void {
  const byFile = new Map<string, Outcome[]>();
  for (const outcome of outcomes) byFile.set(outcome.file, [...(byFile.get(outcome.file) ?? []), outcome]);
  const rows = [...byFile]
    .map(([file, list]) => ({ file, list, minutes: sum(list, o => o.seconds) / 60 }))
    .filter(({ minutes }) => minutes >= SHORTEST_MINUTES)
    .sort((a, b) => b.minutes - a.minutes);
  if (rows.length === 0) return;
  console.log('\nminutes  file');
  for (const { file, list, minutes } of rows) {
    const parts = list.flatMap(({ backend, seconds }) => (backend ? `${backend} ${(seconds / 60).toFixed(1)}` : []));
    const name = relative(folder, file);
    console.log(
      `${minutes.toFixed(1).padStart(7)}  ${parts.length > 0 ? `${name.padEnd(44)} ${parts.join(', ')}` : name}`,
    );
  }
}
