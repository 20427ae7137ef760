import { mainMetric } from '../../evaluation/evaluator.ts';
import { taskInfo } from '../../text/tasks.ts';
import {
  CHART_WIDTH,
  type Chart,
  chartHeight,
  chartSvg,
  type Point,
  type Range,
  type Series,
  smooth,
  thin,
} from './chart.ts';
import type { StepRecord, ValidationRecord } from './records.ts';

/** Most points of a line: two for each of its 700 pixels. */
const MOST_POINTS = 1400;

/** Tableau's ten colours. Series beyond the tenth are dashed. */
// biome-ignore format: one line
const COLORS = ['#4e79a7', '#f28e2b', '#59a14f', '#e15759', '#76b7b2', '#b07aa1', '#edc948', '#9c755f', '#ff9da7', '#79706e'];

/** Names of metrics in the legend. */
const UNITS: Record<string, string> = { editSimilarity: 'edit sim.', meanIoU: 'mean IoU', recallAt1: 'recall@1' };

/**
 * Draws the curves of a run as one SVG: the loss of steps (faint), smoothed, and of validations; the learning rate; the
 * main metric of each task (see `mainMetric`); and with several tasks the validation loss of each.
 */
export function drawCurves(steps: readonly StepRecord[], validations: readonly ValidationRecord[]): string {
  const last = Math.max(1, steps.at(-1)?.step ?? 1, validations.at(-1)?.step ?? 1);
  const charts = [
    lossChart(steps, validations, [0, last]),
    rateChart(steps, [0, last]),
    metricChart(validations, [0, last]),
    taskLossChart(validations, [0, last]),
  ].filter(chart => chart !== null);
  const tops = charts.map((_, i) => charts.slice(0, i).reduce((sum, chart) => sum + chartHeight(chart), 0));
  const height = charts.reduce((sum, chart) => sum + chartHeight(chart), 0);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${CHART_WIDTH}" height="${height}" viewBox="0 0 ${CHART_WIDTH} ${height}">`,
    `<style>${STYLE}</style>`,
    `<rect width="${CHART_WIDTH}" height="${height}" fill="#fff"/>`,
    ...charts.map((chart, i) => chartSvg(chart, tops[i])),
    '</svg>\n',
  ].join('\n');
}

const STYLE = [
  'text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","DejaVu Sans",sans-serif;fill:#33363d}',
  '.title{font-size:15px;font-weight:600;fill:#16181d}',
  '.tick{font-size:11px;fill:#7a7f8a}',
  '.value{text-anchor:end;fill:#7a7f8a}',
  '.grid{stroke:#e6e8ec}.axis{stroke:#9da2ad}',
  '.line{fill:none;stroke-linecap:round;stroke-linejoin:round}.dashed{stroke-dasharray:5 4}',
].join('');

function lossChart(steps: readonly StepRecord[], validations: readonly ValidationRecord[], x: Range): Chart {
  const raw = finite(steps.map(({ step, loss }) => [step, loss]));
  const smoothed = smooth(raw, Math.max(5, raw.length / 25));
  const validated = finite(validations.map(({ step, loss }) => [step, loss]));
  const series: Series[] = [
    { points: thin(raw, MOST_POINTS), color: COLORS[0], width: 1, opacity: 0.3 },
    { name: 'training', points: thin(smoothed, MOST_POINTS), color: COLORS[0], width: 2 },
  ];
  if (validated.length > 0) series.push({ name: 'validation', points: validated, color: COLORS[1], dots: true });
  // The axis ignores the lowest and highest 1% of steps, so that outliers do not flatten the curve.
  const sorted = raw.map(yOf).sort((a, b) => a - b);
  const usual = sorted.slice(Math.floor(sorted.length * 0.01), Math.ceil(sorted.length * 0.99));
  return { title: 'Loss', series, x, ...lossAxis([...usual, ...validated.map(yOf)]) };
}

function rateChart(steps: readonly StepRecord[], x: Range): Chart {
  const points = finite(steps.map(({ step, learningRate }) => [step, learningRate]));
  const high = points.map(yOf).reduce((a, b) => Math.max(a, b), 0);
  const series = [{ name: 'learning rate', points: thin(points, MOST_POINTS), color: COLORS[5], width: 2 }];
  return { title: 'Learning rate', series, x, y: [0, high > 0 ? high * 1.06 : 1] };
}

function metricChart(validations: readonly ValidationRecord[], x: Range): Chart | null {
  const tasks = new Set(validations.flatMap(({ metrics }) => Object.keys(metrics)));
  const named = [...tasks].flatMap(task => {
    const unit = validations.map(({ metrics }) => mainMetric(metrics[task] ?? {})).find(name => name !== undefined);
    const value = ({ metrics }: ValidationRecord) => metrics[task]?.[unit!];
    return unit ? [{ task, unit: UNITS[unit] ?? unit, value }] : [];
  });
  return named.length > 0 ? { title: 'Validation', series: taskSeries(named, validations), x, y: [0, 1] } : null;
}

function taskLossChart(validations: readonly ValidationRecord[], x: Range): Chart | null {
  const tasks = new Set(validations.flatMap(({ taskLosses }) => Object.keys(taskLosses)));
  if (tasks.size < 2) return null;
  const named = [...tasks].map(task => ({ task, value: ({ taskLosses }: ValidationRecord) => taskLosses[task] }));
  const series = taskSeries(named, validations);
  const values = series.flatMap(({ points }) => points.map(yOf));
  return { title: 'Validation loss by task', series, x, ...lossAxis(values) };
}

/** Returns a line for each task, with a dot at each validation. */
function taskSeries(
  tasks: { task: string; unit?: string; value: (record: ValidationRecord) => number | undefined }[],
  validations: readonly ValidationRecord[],
): Series[] {
  return tasks.map(({ task, unit, value }, i) => ({
    name: taskInfo(task)?.name ?? task,
    unit,
    points: finite(validations.map(record => [record.step, value(record)])),
    color: COLORS[i % COLORS.length],
    dashed: i >= COLORS.length,
    dots: true,
  }));
}

/** Returns an axis from 0, or a logarithmic one if the losses span a factor of more than 20. */
function lossAxis(losses: readonly number[]): Pick<Chart, 'y' | 'scale'> {
  const high = losses.reduce((a, b) => Math.max(a, b), 0);
  const low = losses.reduce((a, b) => Math.min(a, b), high);
  if (low > 0 && high / low > 20) return { y: [low / 1.1, high * 1.1], scale: 'log' };
  return { y: [0, high > 0 ? high * 1.06 : 1] };
}

/** Returns the points with a finite value. A NaN loss is null in the log file. */
function finite(points: [x: number, y: number | null | undefined][]): Point[] {
  return points.filter((point): point is [number, number] => Number.isFinite(point[1]));
}

const yOf = ([, y]: Point): number => y;
