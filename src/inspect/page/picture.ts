import type { Report } from '../report.ts';
import { paintHeat, smoothCells } from './colours.ts';
import { card, html, percent, svg } from './dom.ts';
import { drawRegions } from './regions.ts';
import type { Selection } from './selection.ts';
import type { HeadChoice, Shares, Weights } from './weights.ts';

/** Creates the image with the current token's attention and the answer's regions, and the shares of the attention. */
export function picture(report: Report, weights: Weights, selection: Selection): HTMLElement {
  const { image, attention } = report;
  const { rows, columns } = attention;
  const scale = Math.ceil(240 / Math.max(rows, columns)); // pixels of the heat map per cell
  const size = { width: columns * scale, height: rows * scale };
  const heat = html('canvas', { class: 'heat', ...size, 'aria-hidden': 'true' });
  const guide = svg('path', { class: 'guide' });
  const frame = svg('rect', { class: 'cell' });
  const overlay = svg(
    'svg',
    { class: 'overlay', viewBox: `0 0 ${image.width} ${image.height}`, preserveAspectRatio: 'none' },
    guide,
    frame,
  );
  const stage = html(
    'div',
    { class: 'stage', style: `--aspect: ${image.width} / ${image.height}; --ratio: ${image.width / image.height}` },
    html('img', { src: image.src, alt: `The image ${image.name}` }),
    heat,
    overlay,
  );
  drawRegions(stage, overlay, report, selection);
  const caption = html('p', { class: 'caption', 'aria-live': 'polite' });
  const readout = html('p', { class: 'readout' });
  const strength = slider('Heat', 0, 100, 80);
  const withRegions = toggle('Regions', true);
  const smooth = toggle('Smooth', true);

  const show = () => {
    const { token, layer, head, cell } = selection.state;
    const cells = weights.cells(token, { layer, head });
    const peak = cells.reduce((a, b) => Math.max(a, b), 0);
    const values = smooth.input.checked
      ? smoothCells(cells, columns, rows, scale)
      : Array.from({ length: size.width * size.height }, (_, i) => {
          const [x, y] = [i % size.width, Math.floor(i / size.width)];
          return cells[Math.floor(y / scale) * columns + Math.floor(x / scale)];
        });
    paintHeat(heat, values, peak, level => 0.48 + 0.3 * level);
    const said = report.tokens[token];
    caption.replaceChildren(
      'Attention of ',
      html('b', {}, choiceName({ layer, head })),
      ' for ',
      html('b', { class: 'mono' }, JSON.stringify(said.text)),
      ` (token ${token})`,
    );
    drawGuide(guide, said.coordinate, image);
    drawCell(frame, cell, report);
    readout.textContent =
      cell === null
        ? `Peak ${percent(peak)} in one cell. Hover over a cell to see which tokens attend to it.`
        : `Row ${Math.floor(cell / columns)}, column ${cell % columns}: ${percent(cells[cell])} of this token's attention.`;
  };
  const showControls = () => {
    heat.style.opacity = String(Number(strength.input.value) / 100);
    stage.classList.toggle('no-regions', !withRegions.input.checked);
  };
  for (const { input } of [strength, withRegions]) input.addEventListener('input', showControls);
  smooth.input.addEventListener('input', show);
  stage.addEventListener('pointermove', event => {
    if (event.target !== overlay) return;
    const { left, top, width, height } = stage.getBoundingClientRect();
    const column = Math.floor(((event.clientX - left) / width) * columns);
    const row = Math.floor(((event.clientY - top) / height) * rows);
    const inside = column >= 0 && column < columns && row >= 0 && row < rows;
    if (inside) selection.hover({ cell: row * columns + column });
  });
  stage.addEventListener('pointerleave', () => selection.unhover());
  selection.subscribe(show);
  showControls();

  const controls = html('div', { class: 'controls' }, strength.label, smooth.label);
  if (report.regions.length > 0) controls.append(withRegions.label);
  return card('picture', 'Image', '', stage, controls, caption, readout, elsewhere(report, weights, selection));
}

/** Creates a bar with the shares of image, mean token and prompt, and the prompt's tokens shaded by their weights. */
function elsewhere(report: Report, weights: Weights, selection: Selection): HTMLElement {
  const { attention } = report;
  const bar = html('div', { class: 'shares', role: 'img' });
  const legend = html('div', { class: 'legend' });
  const chips = attention.prompt.map(text => html('span', { class: 'chip mono' }, text.trim() || '␣'));
  selection.subscribe(({ token, layer, head }) => {
    const shares = weights.shares(token, { layer, head });
    bar.replaceChildren(...shareParts(shares));
    bar.setAttribute('aria-label', SHARE_NAMES.map(([key, name]) => `${name} ${percent(shares[key])}`).join(', '));
    legend.replaceChildren(
      ...SHARE_NAMES.map(([key, name]) =>
        html('span', {}, html('i', { class: `swatch on-${key}` }), `${name} `, html('b', {}, percent(shares[key]))),
      ),
    );
    const row = weights.row(token, { layer, head });
    const prompt = row.subarray(row.length - chips.length);
    const peak = Math.max(...prompt, 1e-9);
    for (const [i, chip] of chips.entries()) {
      chip.style.setProperty('--level', String(prompt[i] / peak));
      chip.title = percent(prompt[i]);
    }
  });
  return html(
    'div',
    { class: 'elsewhere' },
    bar,
    legend,
    html('div', { class: 'prompt-tokens' }, html('span', { class: 'hint' }, 'Prompt'), ...chips),
  );
}

export const SHARE_NAMES: [keyof Shares, string][] = [
  ['image', 'image cells'],
  ['mean', 'mean token'],
  ['prompt', 'prompt'],
];

export const shareParts = (shares: Shares): HTMLElement[] =>
  SHARE_NAMES.map(([key]) => html('i', { class: `on-${key}`, style: `flex-grow: ${shares[key].toFixed(4)}` }));

export function choiceName({ layer, head }: HeadChoice): string {
  if (layer === null) return 'all heads';
  return head === null ? `layer ${layer}` : `layer ${layer}, head ${head}`;
}

/** Draws the line at a location token's coordinate. */
function drawGuide(
  guide: SVGPathElement,
  coordinate: { axis: 'x' | 'y'; value: number } | undefined,
  { width, height }: { width: number; height: number },
): void {
  const { axis, value } = coordinate ?? {};
  guide.setAttribute('d', axis === 'x' ? `M${value} 0V${height}` : axis === 'y' ? `M0 ${value}H${width}` : '');
}

function drawCell(frame: SVGRectElement, cell: number | null, { attention, image }: Report): void {
  frame.style.display = cell === null ? 'none' : '';
  if (cell === null) return;
  const [width, height] = [image.width / attention.columns, image.height / attention.rows];
  const place = { x: (cell % attention.columns) * width, y: Math.floor(cell / attention.columns) * height };
  for (const [name, value] of Object.entries({ ...place, width, height })) frame.setAttribute(name, String(value));
}

function toggle(name: string, checked: boolean): { label: HTMLElement; input: HTMLInputElement } {
  const input = html('input', { type: 'checkbox', checked });
  return { label: html('label', {}, input, name), input };
}

function slider(name: string, min: number, max: number, value: number) {
  const input = html('input', { type: 'range', min, max, value });
  return { label: html('label', {}, name, input), input };
}
