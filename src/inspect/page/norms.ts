import type { NormPanel, Report } from '../report.ts';
import { card, html, svg } from './dom.ts';

const MARGIN = { left: 40, right: 12, top: 26, bottom: 40 };
const HEIGHT = 240;

/** Colours that are distinct with colour blindness (after Okabe and Ito), and a different marker for each series. */
const SERIES_STYLE: Record<string, { name: string; className: string; marker: string }> = {
  hook_resid_post: { name: 'residual stream', className: 's0', marker: 'M-3.4-3.4h6.8v6.8h-6.8z' },
  hook_attn_out: { name: 'attention', className: 's1', marker: 'M0-4.4L4.2 3.2H-4.2z' },
  hook_cross_attn_out: { name: 'cross-attention', className: 's2', marker: 'M0-4.8L4.8 0 0 4.8-4.8 0z' },
  hook_mlp_out: { name: 'MLP', className: 's3', marker: 'M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0-7.2 0z' },
};

/** Creates one chart of mean L2 norms per part of the model. */
export function normCharts({ norms }: Report): HTMLElement {
  const present = Object.keys(SERIES_STYLE).filter(name =>
    norms.some(({ series }) => series.some(s => s.name === name)),
  );
  const legend = html(
    'div',
    { class: 'legend' },
    ...present.map(name => {
      const { className, marker, name: shown } = SERIES_STYLE[name];
      const sample = svg(
        'svg',
        { viewBox: '-6 -6 12 12', class: className },
        svg('path', { class: 'marker', d: marker }),
      );
      return html('span', {}, sample, shown);
    }),
  );
  const charts = html('div', { class: 'charts' }, ...norms.map(chart));
  const hint =
    'L2 norms of what each block adds and of the residual stream after it, averaged over positions. Log scale.';
  return card('norms', 'Norms', hint, legend, charts);
}

/** Creates a chart that is redrawn when its width changes, so that text keeps its size. */
function chart(panel: NormPanel): HTMLElement {
  const plot = svg('svg', { role: 'img', height: HEIGHT, 'aria-label': `Norms of the blocks: ${panel.part}` });
  const figure = html('figure', {}, html('figcaption', {}, panel.part), plot);
  new ResizeObserver(() => {
    const width = Math.max(200, figure.clientWidth);
    plot.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
    plot.replaceChildren(...draw(panel, width));
  }).observe(figure);
  return figure;
}

function draw({ blocks, groups, series }: NormPanel, width: number): SVGElement[] {
  const values = series.flatMap(one => one.values).filter((value): value is number => value !== null && value > 0);
  const y = logScale(values);
  const step = (width - MARGIN.left - MARGIN.right) / blocks.length;
  const x = (i: number) => MARGIN.left + (i + 0.5) * step;
  const drawn: SVGElement[] = [];
  for (const tick of y.ticks) {
    drawn.push(
      svg('line', { class: 'grid', x1: MARGIN.left, x2: width - MARGIN.right, y1: y.at(tick), y2: y.at(tick) }),
      svg('text', { class: 'tick', x: MARGIN.left - 6, y: y.at(tick) + 4, 'text-anchor': 'end' }, tickText(tick)),
    );
  }
  for (const [i, { from, label }] of groups.entries()) {
    const room = ((groups[i + 1]?.from ?? blocks.length) - from) * step;
    const edge = MARGIN.left + from * step;
    const middle = { x: edge + room / 2, y: MARGIN.top - 10, 'text-anchor': 'middle' };
    if (i > 0) drawn.push(svg('line', { class: 'group', x1: edge, x2: edge, y1: 4, y2: HEIGHT - MARGIN.bottom }));
    drawn.push(svg('text', { class: 'tick', ...middle }, room > 56 ? label : label.replace(/^\D+/, '')));
  }
  const below = { y: HEIGHT - MARGIN.bottom + 17, 'text-anchor': 'middle' };
  const named = blocks.map((block, i) => ({ i, name: shortName(block) })).filter(({ name }) => name !== '');
  const every = Math.ceil(22 / ((step * blocks.length) / named.length));
  for (const { i, name } of named) {
    if (i % every === 0) drawn.push(svg('text', { class: 'tick', x: x(i), ...below }, name));
  }
  const kinds = groups.length > 0 ? 'block: spatial half, channel half' : 'layer';
  drawn.push(svg('text', { class: 'tick', x: width / 2, y: HEIGHT - 6, 'text-anchor': 'middle' }, kinds));
  for (const one of series) {
    const { className, marker, name } = SERIES_STYLE[one.name];
    const points = one.values.flatMap((value, i) => (value !== null && value > 0 ? [{ value, i }] : []));
    const line = points.map(({ value, i }) => `${x(i).toFixed(1)} ${y.at(value).toFixed(1)}`).join('L');
    const group = svg('g', { class: className });
    if (points.length > 1) group.append(svg('path', { class: 'line', d: `M${line}` }));
    for (const { value, i } of points) {
      const transform = `translate(${x(i).toFixed(1)} ${y.at(value).toFixed(1)})`;
      const title = svg('title', {}, `${blocks[i]}, ${name}: ${value.toPrecision(3)}`);
      group.append(svg('path', { class: 'marker', d: marker, transform }, title));
    }
    drawn.push(group);
  }
  return drawn;
}

/** Returns a logarithmic scale, and ticks at 1, 2 and 5 times the powers of ten (more or fewer to suit the range). */
function logScale(values: number[]): { at: (value: number) => number; ticks: number[] } {
  const [low, high] = values.length > 0 ? [Math.min(...values) / 1.15, Math.max(...values) * 1.15] : [0.1, 10];
  const [from, to] = [Math.log10(low), Math.log10(high)];
  const at = (value: number) =>
    HEIGHT - MARGIN.bottom - ((Math.log10(value) - from) / (to - from)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const factors = to - from > 2.2 ? [1] : to - from > 0.7 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
  const ticks: number[] = [];
  for (let power = Math.floor(from); power <= Math.ceil(to); power++) {
    for (const factor of factors) {
      const tick = factor * 10 ** power;
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return { at, ticks };
}

const tickText = (tick: number): string => (tick >= 1000 ? `${tick / 1000}k` : String(Number(tick.toPrecision(2))));

/** Returns the block's number; empty for a channel block, which shares the number of its spatial block. */
function shortName(block: string): string {
  const [, number, kind] = /(\d+)(?: (\w+))?$/.exec(block) ?? [];
  return kind === 'channel' ? '' : (number ?? block);
}
