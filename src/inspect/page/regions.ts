import type { Region, Report } from '../report.ts';
import { html, svg } from './dom.ts';
import type { Selection } from './selection.ts';

/** Draws boxes, quads and polygons with their labels over the image, linked to their tokens. */
export function drawRegions(stage: HTMLElement, overlay: SVGSVGElement, report: Report, selection: Selection): void {
  const outlines = report.regions.map((region, i) => {
    const d = region.outlines.map(pathOf).join('');
    const first = region.locationTokens[0] ?? region.labelTokens[0];
    const choose = () => selection.pin({ ...(first !== undefined && { token: first }), region: i });
    return svg(
      'g',
      {
        class: `region ${region.kind}`,
        tabindex: 0,
        role: 'button',
        'aria-label': regionName(region),
        style: `--c: ${region.color}`,
        onclick: choose,
        onpointerenter: () => selection.hover({ region: i }),
        onpointerleave: () => selection.unhover(),
        onfocus: () => selection.hover({ region: i }),
        onblur: () => selection.unhover(),
        onkeydown: event => {
          if (!['Enter', ' '].includes((event as KeyboardEvent).key)) return;
          event.preventDefault();
          choose();
        },
      },
      svg('path', { class: 'rim', d }),
      svg('path', { class: 'line', d }),
    );
  });
  // Large regions are drawn first, so that small ones inside them can be clicked.
  const order = [...outlines.keys()].sort((a, b) => areaOf(report.regions[b]) - areaOf(report.regions[a]));
  overlay.append(...order.map(i => outlines[i]));
  const labels = report.regions.map(({ kind, label, color }) =>
    html(
      'span',
      { class: `pill ${kind}${label === '' ? ' empty' : ''}`, style: `--c: ${color}; color: ${inkOn(color)}` },
      label,
    ),
  );
  stage.append(...labels);

  selection.subscribe(() => {
    const active = selection.regions;
    for (const [i, outline] of outlines.entries()) {
      const state = active.includes(i);
      outline.classList.toggle('active', state);
      outline.classList.toggle('faded', active.length > 0 && !state);
      labels[i].classList.toggle('active', state);
      labels[i].classList.toggle('faded', active.length > 0 && !state);
    }
  });
  new ResizeObserver(() => placeLabels(stage, labels, report)).observe(stage);
}

export const regionName = ({ kind, label, confidence }: Region): string =>
  [kind, label && JSON.stringify(label), confidence !== undefined && `confidence ${confidence.toFixed(2)}`]
    .filter(Boolean)
    .join(' ');

/** Places each label at a free corner of its region. Labels without a free corner are shown only while active. */
function placeLabels(stage: HTMLElement, labels: HTMLElement[], { regions, image }: Report): void {
  const [width, height] = [stage.clientWidth, stage.clientHeight];
  const taken: [number, number, number, number][] = [];
  const scale = [width / image.width, height / image.height];
  for (const [i, label] of labels.entries()) {
    label.style.maxWidth = `${Math.max(80, width * 0.5)}px`;
    const [w, h] = [label.offsetWidth, label.offsetHeight];
    const points = regions[i].outlines.flat();
    const [xs, ys] = [0, 1].map(axis => points.filter((_, k) => k % 2 === axis).map(value => value * scale[axis]));
    const [left, top, right, bottom] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    const places = [
      [left, top - h],
      [right - w, top - h],
      [left, bottom],
      [left, top],
      [right - w, bottom - h],
    ].map(([x, y]) => [clamp(x, 0, width - w), clamp(y, 0, height - h)]);
    const isFree = ([x, y]: number[]) =>
      taken.every(([x1, y1, x2, y2]) => x >= x2 || x + w <= x1 || y >= y2 || y + h <= y1);
    const free = places.find(isFree);
    const [x, y] = free ?? places[0];
    if (free) taken.push([x, y, x + w, y + h]);
    label.classList.toggle('crowded', !free);
    label.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  }
}

function pathOf(points: readonly number[]): string {
  const pairs = Array.from(
    { length: Math.floor(points.length / 2) },
    (_, i) => `${points[2 * i]} ${points[2 * i + 1]}`,
  );
  return pairs.length > 0 ? `M${pairs.join('L')}Z` : '';
}

/** Returns the area of a region's bounding box, which is used for ordering only. */
function areaOf({ outlines }: Region): number {
  const points = outlines.flat();
  const side = (axis: number) => {
    const values = points.filter((_, i) => i % 2 === axis);
    return Math.max(...values) - Math.min(...values);
  };
  return side(0) * side(1);
}

/** Returns black or white, the one with more contrast on a colour (WCAG 2, relative luminance). */
function inkOn(color: string): string {
  const [r, g, b] = [1, 3, 5].map(i => {
    const level = Number.parseInt(color.slice(i, i + 2), 16) / 255;
    return level <= 0.04045 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? '#101114' : '#ffffff';
}

const clamp = (value: number, low: number, high: number): number => Math.max(low, Math.min(value, Math.max(low, high)));
