import type { TaskResult } from '../../results/types.ts';

/** Returns a result as lines of text. */
export function resultLines(result: TaskResult): string[] {
  const lines = itemLines(result);
  if (lines.length === 0) lines.push('nothing found');
  if (result.truncated) lines.push('(truncated: raise --max-new-tokens)');
  if (result.dropped) lines.push(`(malformed and dropped: ${result.dropped}; --keep-malformed keeps them)`);
  return lines;
}

function itemLines(result: TaskResult): string[] {
  if ('text' in result) return result.text.split('\n');
  if ('phrases' in result) {
    return table(
      result.phrases.flatMap(({ phrase, boxes }) =>
        boxes.map(({ box, confidence }) => [phrase, twoDigits(confidence), at(box)]),
      ),
    );
  }
  if ('quads' in result)
    return table(result.quads.map(({ text, confidence, quad }) => [text, twoDigits(confidence), at(quad)]));
  const boxes = 'boxes' in result ? result.boxes : [];
  const instances = 'instances' in result ? result.instances : [];
  return table([
    ...boxes.map(({ label, confidence, box }) => [label, twoDigits(confidence), at(box)]),
    ...instances.map(({ label, confidence, polygons }) => [label, twoDigits(confidence), shape(polygons)]),
  ]);
}

const twoDigits = (confidence: number | undefined): string => (confidence === undefined ? '' : confidence.toFixed(2));

const at = (coordinates: readonly number[]): string => coordinates.map(value => value.toFixed(1)).join(', ');

function shape(polygons: readonly number[][]): string {
  const points = polygons.reduce((sum, polygon) => sum + polygon.length / 2, 0);
  return `${polygons.length} ${polygons.length === 1 ? 'polygon' : 'polygons'} of ${points} points`;
}

/** Pads the cells of each column to the same width. Empty columns are omitted. */
function table(rows: string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map(row => row[column].length)));
  return rows.map(row =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .filter((_, column) => widths[column] > 0)
      .join('  ')
      .trimEnd(),
  );
}
