import { imageName } from '../../image/source.ts';
import type { DiffReport, DiffRow, ImageDiff } from '../../internals/diff/report.ts';
import { brief } from './numbers.ts';

/** Returns the lines about one image: its points in execution order, then the answers. */
export function imageLines({ image, rows, answers: { a, b }, sameAnswer }: ImageDiff): string[] {
  const width = Math.max(...rows.map(({ name }) => name.length));
  const shapes = Math.max(5, ...rows.map(({ shape }) => shapeOf(shape).length));
  const titles = ['shape'.padEnd(shapes), 'max abs'.padStart(11), 'relative'.padStart(11)];
  return [
    imageName(image),
    `  ${''.padEnd(width + 2)}  ${titles.join('')}`,
    ...rows.map(row => rowLine(row, width, shapes)),
    ...(sameAnswer
      ? [`  A and B: ${a.text}`, '  the token ids of both answers are equal']
      : [`  A: ${a.text}`, `  B: ${b.text}`, `  ${tokenDifference(a.ids, b.ids)}`]),
    '',
  ];
}

function rowLine(row: DiffRow, width: number, shapes: number): string {
  const numbers = [row.maxAbs, row.relative].map(value => brief(value).padStart(11)).join('');
  const line = `  ${row.departs ? '✗' : '✓'} ${row.name.padEnd(width)}  ${shapeOf(row.shape).padEnd(shapes)}${numbers}`;
  const notes = [row.firstDeparture && '◀ first difference', row.remark && `(${row.remark})`].filter(Boolean);
  return [line, ...notes].join('  ');
}

function tokenDifference(a: number[], b: number[]): string {
  const at = a.findIndex((id, i) => id !== b[i]);
  const first = at < 0 ? a.length : at; // A's answer is a prefix of B's
  const id = (ids: number[]): string => (first < ids.length ? String(ids[first]) : 'the end');
  return `token ${first} of the answer is ${id(a)} in A and ${id(b)} in B`;
}

/** Returns the summary after all images. */
export function diffLines({ a, b, tolerance, images }: DiffReport): string[] {
  const rows = images.flatMap(image => image.rows);
  const within = rows.filter(({ departs }) => !departs).length;
  const same = images.filter(({ sameAnswer }) => sameAnswer).length;
  return [
    `A: ${runOf(a)}`,
    `B: ${runOf(b)}`,
    `${within} of ${rows.length} points within ${brief(tolerance)}, ${same} of ${images.length} answers equal`,
  ];
}

const runOf = ({ model, adapter, ranOn }: DiffReport['a']): string =>
  `${model}${adapter === undefined ? '' : ` with ${adapter}`}, on ${ranOn.name}: ${ranOn.description}`;

const shapeOf = (shape: number[]): string => `[${shape.join(', ')}]`;
