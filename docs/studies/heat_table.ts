/** A table of numbers to draw: the further a value is from 0, the stronger its colour, red above 0 and blue below. */
export interface HeatTable {
  title: string;
  /** What the columns are, a prefix of their names. */
  across: string;
  rows: readonly string[];
  columns: readonly string[];
  /** Values of the cells, row by row. */
  values: ArrayLike<number>;
}

const cell = { width: 72, height: 40 };
const margin = { top: 66, between: 40 };
const letter = 7; // width in pixels, on average
const titleLetter = 10; // the same of titles, which are larger and bold
const text = 'font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif"';

/** Formats a table as lines of text. */
export function tableLines({ title, rows, columns, values }: HeatTable): string[] {
  const width = Math.max(...rows.map(({ length }) => length)) + 2;
  const line = (row: string, i: number) => {
    const cells = Array.from(columns, (_, j) => values[i * columns.length + j].toFixed(3).padStart(9));
    return `  ${row.padEnd(width)}${cells.join('')}`;
  };
  return [title, ...rows.map(line)];
}

/** Draws tables side by side as one SVG file. All tables have the same colour scale. */
export function heatTables(tables: readonly HeatTable[]): string {
  const strongest = Math.max(...tables.flatMap(({ values }) => Array.from(values, Math.abs)), 1e-9);
  const widths = tables.map(table => leftOf(table) + contentWidth(table) + margin.between);
  const width = widths.reduce((sum, one) => sum + one, 0);
  const height = margin.top + Math.max(...tables.map(({ rows }) => rows.length)) * cell.height + 24;
  const placed = tables.map((table, i) => {
    const left = widths.slice(0, i).reduce((sum, one) => sum + one, 0);
    return `<g transform="translate(${left} 0)">${tableSvg(table, strongest)}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ${text} font-size="13">
<title>${tables.map(({ title }) => title).join('; ')}</title>
<rect width="${width}" height="${height}" fill="#fff"/>
${placed.join('\n')}
</svg>
`;
}

/** Width of the names of the rows. */
const leftOf = ({ rows }: HeatTable): number => 32 + letter * Math.max(...rows.map(({ length }) => length));

/** Width of the cells, or of the title if it is wider. */
const contentWidth = ({ columns, title }: HeatTable): number =>
  Math.max(columns.length * cell.width, Math.ceil(title.length * titleLetter));

function tableSvg(table: HeatTable, strongest: number): string {
  const { title, across, rows, columns, values } = table;
  const left = leftOf(table);
  const right = left - 10;
  return [
    `<text x="${left}" y="22" font-size="15" font-weight="600">${title}</text>`,
    ...columns.map((name, j) => label(left + (j + 0.5) * cell.width, margin.top - 12, `${across} ${name}`, 'middle')),
    ...rows.map((name, i) => label(right, margin.top + (i + 0.5) * cell.height + 5, name, 'end')),
    ...rows.flatMap((_, i) =>
      columns.map((_, j) => {
        const value = values[i * columns.length + j];
        const [x, y] = [left + j * cell.width, margin.top + i * cell.height];
        const strength = Math.abs(value) / strongest;
        const ink = strength > 0.6 ? '#fff' : '#1c1e23';
        const color = value > 0 ? '#b8263c' : '#2263ad';
        return (
          `<rect x="${x + 1}" y="${y + 1}" width="${cell.width - 2}" height="${cell.height - 2}" rx="3" fill="${color}" fill-opacity="${(0.04 + 0.96 * strength).toFixed(3)}"/>` +
          label(x + cell.width / 2, y + cell.height / 2 + 5, value.toFixed(2), 'middle', ink)
        );
      }),
    ),
  ].join('\n');
}

const label = (x: number, y: number, words: string, anchor: string, color = '#4a4d55'): string =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${color}">${words}</text>`;
