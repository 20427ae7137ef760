import type {
  CheckpointReport,
  Count,
  NotCompared,
  ParityReport,
  SequenceRow,
  TensorRow,
  TrainingRow,
} from '../../parity/report.ts';
import { brief } from './numbers.ts';

/** Returns the lines about one checkpoint: tensors in execution order, then generations, then trainings. */
export function checkpointLines(report: CheckpointReport): string[] {
  const { variant, checkpoint, tensors, sequences, training, skipped, leftOut } = report;
  const width = Math.max(20, ...tensors.map(({ name }) => name.length));
  const files = [...new Set(tensors.map(({ file }) => file))];
  const cases = [...new Set(sequences.map(row => row.case))];
  return [
    `${variant} · ${checkpoint}`,
    ...files.flatMap(file => [
      ['  ', file.padEnd(width + 2), ...['max abs', 'relative', 'tolerance'].map(title => title.padStart(11))].join(''),
      ...tensors.filter(row => row.file === file).map(row => tensorLine(row, width)),
    ]),
    ...(cases.length > 0 ? ['  generation.json'] : []),
    ...cases.flatMap(name =>
      caseLines(
        name,
        sequences.filter(row => row.case === name),
        width,
      ),
    ),
    ...trainingLines(training, width),
    ...skipped.map(entry => `  not for this checkpoint: ${notCompared(entry)}`),
    ...leftOut.map(entry => `  not counted: ${notCompared(entry)}`),
    '',
  ];
}

function tensorLine(row: TensorRow, width: number): string {
  const numbers = [row.maxAbs, row.relative, row.tolerance].map(value => brief(value).padStart(11)).join('');
  const line = `  ${row.equal ? '✓' : '✗'} ${row.name.padEnd(width)}${numbers}`;
  if (row.equal) return line;
  const place = row.firstDeparture ? `  ◀ first difference${row.point ? `, at ${row.point}` : ''}` : '';
  return line + place + (row.problem ? `  (${row.problem})` : '');
}

function caseLines(name: string, rows: SequenceRow[], width: number): string[] {
  const equal = rows.filter(row => row.equal).length;
  const worst = rows.reduce<SequenceRow | undefined>(
    (most, row) => ((row.scoreError ?? -1) > (most?.scoreError ?? -1) ? row : most),
    undefined,
  );
  const scores = worst ? `  scores within ${brief(worst.scoreError!)} (${brief(worst.scoreTolerance!)})` : '';
  const line = `  ${equal === rows.length ? '✓' : '✗'} ${name.padEnd(width)}  ${equal} of ${rows.length} equal${scores}`;
  return [line, ...rows.filter(row => !row.equal).map(row => `      ${sequenceProblem(row)}`)];
}

function sequenceProblem({ index, firstDifference, expected, got, scoreError, scoreTolerance }: SequenceRow): string {
  if (firstDifference === undefined) {
    return `sequence ${index}: the ids are equal, the score differs by ${brief(scoreError!)} (${brief(scoreTolerance!)})`;
  }
  const id = (ids: number[]): string => String(ids[firstDifference] ?? 'the end');
  return `sequence ${index}: token ${firstDifference} is ${id(got)}, expected ${id(expected)}`;
}

/** Returns a line per file and kind of value, with the value nearest to its tolerance. */
function trainingLines(rows: TrainingRow[], width: number): string[] {
  const files = [...new Set(rows.map(({ file }) => file))];
  return files.flatMap(file => {
    const ofFile = rows.filter(row => row.file === file);
    const kinds = [...new Set(ofFile.map(({ what }) => what))];
    return [
      `  ${file}`,
      ...kinds.flatMap(what =>
        kindLines(
          what,
          ofFile.filter(row => row.what === what),
          width,
        ),
      ),
    ];
  });
}

function kindLines(what: string, rows: TrainingRow[], width: number): string[] {
  const wrong = rows.filter(row => !row.equal);
  const equal = `${what.padEnd(width)}  ${rows.length - wrong.length} of ${rows.length} equal`;
  if (wrong.length > 0) return [`  ✗ ${equal}`, ...wrong.map(row => `      ${row.name}: ${departure(row)}`)];
  const nearness = ({ difference, tolerance }: TrainingRow): number => (difference === 0 ? 0 : difference / tolerance);
  const nearest = rows.reduce((most, row) => (nearness(row) > nearness(most) ? row : most));
  return [`  ✓ ${equal}  within ${brief(nearest.difference)} (${brief(nearest.tolerance)})`];
}

const departure = ({ difference, tolerance, problem }: TrainingRow): string =>
  problem ?? `off by ${brief(difference)} (${brief(tolerance)})`;

/** Returns the summary after all checkpoints: what was not compared, and the totals. */
export function parityLines({ backend, variants, tensors, sequences, training }: ParityReport): string[] {
  const several = variants.length > 1;
  return [
    ...variants.flatMap(({ variant, notCompared: entries, training: files }) => {
      const of = several ? `${variant}: ` : '';
      const uncovered = files.length > 0 ? [`${of}not compared without --training: ${files.join(', ')}`] : [];
      return [...uncovered, ...entries.map(entry => `✗ ${of}not compared: ${notCompared(entry)}`)];
    }),
    `on ${backend.name}: ${backend.description}`,
    `${ratio(tensors)} tensors, ${ratio(sequences)} sequences${training ? `, ${ratio(training)} training values` : ''} equal`,
  ];
}

function notCompared({ file, names, reason }: NotCompared): string {
  const listed = names.length > 3 ? `${names[0]} and ${names.length - 1} more` : names.join(', ');
  return `${file} ${listed} (${reason})`;
}

const ratio = ({ equal, total }: Count): string => `${equal} of ${total}`;
