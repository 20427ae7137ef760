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

/** Most lines of a chart: more cannot be told apart. */
const MOST_SERIES = 6;

/** Six of Tableau's colours. */
const COLORS = ['#4e79a7', '#f28e2b', '#59a14f', '#e15759', '#76b7b2', '#b07aa1'];

/** Names of metrics in titles. */
const NAMES: Record<string, string> = {
  editSimilarity: 'edit similarity',
  meanIoU: 'mean IoU',
  recallAt1: 'recall@1',
};

/**
 * Draws the curves of a run as one SVG: the loss of steps (faint), smoothed, and of validations; the learning rate; for
 * each main metric (see `mainMetric`) the tasks that have it; and with several tasks the validation loss of each.
 */
export function drawCurves(steps: readonly StepRecord[], validations: readonly ValidationRecord[]): string {
  const last = Math.max(1, steps.at(-1)?.step ?? 1, validations.at(-1)?.step ?? 1);
  const charts = [
    lossChart(steps, validations, [0, last]),
    rateChart(steps, [0, last]),
    ...metricCharts(validations, [0, last]),
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
  '.line{fill:none;stroke-linecap:round;stroke-linejoin:round}',
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

/** Returns a chart for each main metric, because their values have different meanings. */
function metricCharts(validations: readonly ValidationRecord[], x: Range): Chart[] {
  const tasks = [...new Set(validations.flatMap(({ metrics }) => Object.keys(metrics)))];
  const metricOf = (task: string): string | undefined =>
    validations.map(({ metrics }) => mainMetric(metrics[task] ?? {})).find(name => name !== undefined);
  const metrics = new Set(tasks.flatMap(task => metricOf(task) ?? []));
  return [...metrics].map(metric => {
    const curves = tasks
      .filter(task => metricOf(task) === metric)
      .map(task => curveOf(task, validations, record => record.metrics[task]?.[metric]));
    return { ...taskChart(`Validation: ${NAMES[metric] ?? metric}`, curves, 'lowest'), x, y: [0, 1] };
  });
}

function taskLossChart(validations: readonly ValidationRecord[], x: Range): Chart | null {
  const tasks = [...new Set(validations.flatMap(({ taskLosses }) => Object.keys(taskLosses)))];
  if (tasks.length < 2) return null;
  const curves = tasks.map(task => curveOf(task, validations, ({ taskLosses }) => taskLosses[task]));
  const chart = taskChart('Validation loss by task', curves, 'highest');
  return { ...chart, x, ...lossAxis(chart.series.flatMap(({ points }) => points.map(yOf))) };
}

/** The values of a task at the validations. */
interface Curve {
  name: string;
  points: Point[];
}

const curveOf = (
  task: string,
  validations: readonly ValidationRecord[],
  value: (record: ValidationRecord) => number | undefined,
): Curve => ({
  name: taskInfo(task)?.name ?? task,
  points: finite(validations.map(record => [record.step, value(record)])),
});

/**
 * Returns the title and the lines of a chart, with a dot at each validation. Of more than `MOST_SERIES` tasks it has the
 * mean of all and those whose last values are the worst.
 */
function taskChart(
  title: string,
  curves: readonly Curve[],
  worst: 'lowest' | 'highest',
): Pick<Chart, 'title' | 'series'> {
  if (curves.length <= MOST_SERIES) return { title, series: curves.map(asSeries) };
  const last = ({ points }: Curve): number => points.at(-1)?.[1] ?? 0;
  const sorted = curves.toSorted((a, b) => (worst === 'lowest' ? last(a) - last(b) : last(b) - last(a)));
  const shown = [meanOf(curves), ...sorted.slice(0, MOST_SERIES - 1)];
  return {
    title: `${title}: mean of ${curves.length}, and the ${MOST_SERIES - 1} ${worst}`,
    series: shown.map(asSeries),
  };
}

const asSeries = ({ name, points }: Curve, i: number): Series => ({ name, points, color: COLORS[i], dots: true });

/** Returns the mean over the tasks that have a value at a step. */
function meanOf(curves: readonly Curve[]): Curve {
  const all = curves.flatMap(({ points }) => points);
  const steps = [...new Set(all.map(([step]) => step))].sort((a, b) => a - b);
  const points = steps.map((step): Point => {
    const values = all.filter(([at]) => at === step).map(yOf);
    return [step, values.reduce((sum, value) => sum + value, 0) / values.length];
  });
  return { name: 'mean', points };
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
