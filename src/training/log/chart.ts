import { escapeXml } from '../../text/xml.ts';

/** A point of a curve, in the units of its chart's axes. */
export type Point = readonly [x: number, y: number];

/** One line of a chart. */
export interface Series {
  /** Name in the legend. A series without a name is not listed. */
  name?: string;
  points: readonly Point[];
  color: string;
  /** Width of the line in pixels. Default 1.75. */
  width?: number;
  /** Opacity of the line. Default 1. */
  opacity?: number;
  /** Whether each point has a dot. Default false. */
  dots?: boolean;
}

/** An interval of an axis. */
export type Range = readonly [low: number, high: number];

/** A line chart over training steps. */
export interface Chart {
  title: string;
  series: readonly Series[];
  /** Range of the x axis, in steps. */
  x: Range;
  /** Range of the y axis. */
  y: Range;
  /** Scale of the y axis. Default `linear`. */
  scale?: 'linear' | 'log';
}

/** Width of a chart in pixels. */
export const CHART_WIDTH = 1080;
const PLOT = { left: 64, right: 764, top: 44 };
const LEGEND = { left: 790, right: CHART_WIDTH - 24, line: 18 };
const MIN_PLOT_HEIGHT = 180; // pixels
const BOTTOM_MARGIN = 46; // tick labels and space before the next chart

/** Height of a plot in pixels, at least that of its legend. */
const plotHeight = ({ series }: Chart): number =>
  Math.max(MIN_PLOT_HEIGHT, series.filter(isInLegend).length * LEGEND.line);

/** Returns the height of a chart in pixels, with title and axis. */
export const chartHeight = (chart: Chart): number => PLOT.top + plotHeight(chart) + BOTTOM_MARGIN;

/**
 * Draws a chart as an SVG group whose upper edge is at `top`: grid, lines, and a legend with each line's last value.
 */
export function chartSvg(chart: Chart, top: number): string {
  const { title, series, x, y, scale = 'linear' } = chart;
  const bottom = PLOT.top + plotHeight(chart);
  const toX = linear(x, [PLOT.left, PLOT.right]);
  const transform = scale === 'log' ? Math.log10 : (value: number) => value;
  const toPixels = linear([transform(y[0]), transform(y[1])], [bottom, PLOT.top]);
  const toY = (value: number) => toPixels(transform(value));
  const levels = scale === 'log' ? logTicks(y[0], y[1], 9) : linearTicks(y[0], y[1], 5);
  const clip = `plot-${top}`;
  const inner = `x="${PLOT.left - 4}" y="${PLOT.top - 4}" width="${PLOT.right - PLOT.left + 8}" height="${bottom - PLOT.top + 8}"`;
  return [
    `<g transform="translate(0 ${top})">`,
    `<text class="title" x="${PLOT.left}" y="26">${escapeXml(title)}</text>`,
    `<text class="tick" x="${PLOT.left - 14}" y="${bottom + 19}" text-anchor="end">step</text>`,
    ...levels.map(level => levelSvg(round(toY(level)), brief(level))),
    ...linearTicks(x[0], x[1], 8).map(tick => tickSvg(round(toX(tick)), bottom, brief(tick))),
    `<path class="axis" d="M${PLOT.left} ${bottom}H${PLOT.right}"/>`,
    `<clipPath id="${clip}"><rect ${inner}/></clipPath>`,
    `<g clip-path="url(#${clip})">`,
    ...series.map(one => lineSvg(one, toX, toY)),
    '</g>',
    ...series.filter(isInLegend).map(legendSvg),
    '</g>',
  ].join('\n');
}

const isInLegend = ({ name }: Series): boolean => name !== undefined;

function lineSvg({ points, color, width = 1.75, opacity = 1, dots }: Series, toX: Scale, toY: Scale): string {
  const places = points.map(([x, y]) => `${round(toX(x))} ${round(toY(y))}`);
  const stroke = `class="line" stroke="${color}"`;
  const line = `<path ${stroke} stroke-width="${width}" stroke-opacity="${opacity}" d="M${places.join('L')}"/>`;
  // A line of length 0 with round ends is a dot.
  const marks = dots || places.length === 1 ? places.map(place => `M${place}h0`).join('') : '';
  const dotted = `<path class="line" stroke="${color}" stroke-width="${width * 2.6}" d="${marks}"/>`;
  return [places.length > 1 ? line : '', marks === '' ? '' : dotted].join('');
}

function legendSvg({ name = '', color, points }: Series, row: number): string {
  const y = PLOT.top + 8 + row * LEGEND.line;
  const last = points.length > 0 ? brief(points.at(-1)![1]) : '';
  return [
    `<path class="line" stroke="${color}" stroke-width="2.5" d="M${LEGEND.left} ${y}h16"/>`,
    `<text x="${LEGEND.left + 25}" y="${y + 4}">${escapeXml(name)}</text>`,
    `<text class="value" x="${LEGEND.right}" y="${y + 4}">${last}</text>`,
  ].join('');
}

const levelSvg = (y: number, label: string): string =>
  `<path class="grid" d="M${PLOT.left} ${y}H${PLOT.right}"/><text class="tick" x="${PLOT.left - 9}" y="${y + 4}" text-anchor="end">${label}</text>`;

const tickSvg = (x: number, bottom: number, label: string): string =>
  `<path class="axis" d="M${x} ${bottom}v4"/><text class="tick" x="${x}" y="${bottom + 19}" text-anchor="middle">${label}</text>`;

type Scale = (value: number) => number;

const linear =
  ([a, b]: Range, [c, d]: Range): Scale =>
  value =>
    c + ((value - a) / (b - a)) * (d - c);

const round = (value: number): number => Math.round(value * 10) / 10;

/** Returns about `about` round numbers from `low` to `high`, spaced by 1, 2 or 5 times a power of ten. */
export function linearTicks(low: number, high: number, about: number): number[] {
  const step = roundStep((high - low) / about);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Returns 1, 2 and 5 times the powers of ten from `low` to `high`, or only the powers if that exceeds `most` ticks. */
export function logTicks(low: number, high: number, most: number): number[] {
  const powers = linearTicks(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)), 1000).filter(Number.isInteger);
  const within = (ticks: number[]) => ticks.filter(tick => tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9));
  const all = within(powers.flatMap(power => [1, 2, 5].map(digit => Number(`${digit}e${power}`))));
  return all.length <= most ? all : within(powers.map(power => Number(`1e${power}`)));
}

/** Returns the smallest of …, 1, 2, 5, 10, 20, … that is at least `minimum`. */
function roundStep(minimum: number): number {
  const power = 10 ** Math.floor(Math.log10(minimum));
  return [1, 2, 5, 10].map(digit => digit * power).find(step => step >= minimum * (1 - 1e-9))!;
}

/** Formats a number in few characters: `0.25`, `1.5k`, `2e-4`. */
export function brief(value: number): string {
  const size = Math.abs(value);
  if (size >= 1000) return `${Number((value / 1000).toPrecision(4))}k`;
  if (size > 0 && size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, 'e');
  return String(Number(value.toPrecision(3)));
}

/** Returns the centred moving average over `window` points, which does not lag. At the ends the window is truncated. */
export function smooth(points: readonly Point[], window: number): Point[] {
  const sums = [0];
  for (const [, y] of points) sums.push(sums.at(-1)! + y);
  const half = Math.floor(window / 2);
  return points.map(([x], i) => {
    const [first, end] = [Math.max(0, i - half), Math.min(points.length, i + half + 1)];
    return [x, (sums[end] - sums[first]) / (end - first)];
  });
}

/** Reduces a curve to at most `most` points: the lowest and the highest of each section, so that no peak is lost. */
export function thin(points: readonly Point[], most: number): Point[] {
  if (points.length <= most) return [...points];
  const stretches = Math.floor(most / 2);
  return Array.from({ length: stretches }, (_, i) => {
    const at = (n: number) => Math.floor((n * points.length) / stretches);
    const stretch = points.slice(at(i), at(i + 1));
    const low = stretch.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = stretch.reduce((a, b) => (b[1] > a[1] ? b : a));
    return low[0] < high[0] ? [low, high] : [high, low];
  }).flat();
}
