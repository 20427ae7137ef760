import { taskInfo } from '../../text/tasks.ts';
import type { ValidationMeans } from '../../training/log/records.ts';
import { nameOnOneLine } from './terminal.ts';

const AP = 'AP/';

/** Most classes of the table; the others are in metrics.jsonl. */
const MOST_CLASSES = 40;

/** Longest name of a class in the table. */
const LONGEST_NAME = 40;

/**
 * Returns a table of the average precision of each class, a column for each task that has classes, the classes with the
 * lowest values first; no line if no task has two classes.
 */
export function classLines({ metrics }: ValidationMeans): string[] {
  const columns = Object.entries(metrics).flatMap(([task, values]) => {
    const classes = Object.entries(values).filter(([name]) => name.startsWith(AP));
    const byClass = new Map(classes.map(([name, value]) => [name.slice(AP.length), value]));
    return byClass.size > 0 ? [{ task: taskInfo(task)?.name ?? task, byClass }] : [];
  });
  const names = [...new Set(columns.flatMap(({ byClass }) => [...byClass.keys()]))];
  if (names.length < 2) return [];
  const lowest = (name: string): number => Math.min(...columns.map(({ byClass }) => byClass.get(name) ?? 1));
  const listed = names.toSorted((a, b) => lowest(a) - lowest(b)).slice(0, MOST_CLASSES);
  const labels = listed.map(name => shortened(nameOnOneLine(name)));
  const width = Math.max('AP by class'.length, ...labels.map(({ length }) => length));
  const row = (title: string, cells: string[]): string =>
    [
      title.padEnd(width),
      ...cells.map((cell, i) => cell.padStart(Math.max(columns[i].task.length, '0.000'.length))),
    ].join('  ');
  return [
    row(
      'AP by class',
      columns.map(({ task }) => task),
    ),
    ...listed.map((name, i) =>
      row(
        labels[i],
        columns.map(({ byClass }) => byClass.get(name)?.toFixed(3) ?? '–'),
      ),
    ),
    ...(names.length > listed.length ? [`… and ${names.length - listed.length} more in metrics.csv`] : []),
  ];
}

const shortened = (name: string): string =>
  name.length <= LONGEST_NAME ? name : `${name.slice(0, LONGEST_NAME - 1)}…`;
