import type { Report } from '../report.ts';
import { paintHeat } from './colours.ts';
import { card, html, percent, roveFocus } from './dom.ts';
import { choiceName, SHARE_NAMES, shareParts } from './picture.ts';
import type { Selection } from './selection.ts';
import type { HeadChoice, Weights } from './weights.ts';

interface Thumbnail {
  choice: HeadChoice;
  button: HTMLButtonElement;
  canvas: HTMLCanvasElement;
  bar: HTMLElement;
}

/** Creates a grid of maps: one row per layer with the layer's mean and its heads, and a row with the mean of all. */
export function headGrid(report: Report, weights: Weights, selection: Selection): HTMLElement {
  const { layers, heads } = report.attention;
  const indices = (count: number) => Array.from({ length: count }, (_, i) => i);
  const shape = Math.max(0.7, Math.min(1.6, report.image.width / report.image.height));
  const thumbnails: Thumbnail[] = [];
  const thumbnail = (choice: HeadChoice): HTMLElement => {
    const thumbnail = makeThumbnail(choice, report, selection);
    thumbnails.push(thumbnail);
    return thumbnail.button;
  };
  const grid = html('div', { class: 'head-grid', role: 'group', style: `--heads: ${heads}; --shape: ${shape}` });
  const corner = (text: string) => html('span', { class: 'corner' }, text);
  grid.append(corner(''), corner('mean'), ...indices(heads).map(head => corner(String(head))));
  for (const layer of indices(layers)) {
    const choices = [null, ...indices(heads)].map(head => thumbnail({ layer, head }));
    grid.append(corner(`L${layer}`), ...choices);
  }
  grid.append(corner('all'), thumbnail({ layer: null, head: null }));
  const shared = html('input', { type: 'checkbox' });
  const legend = html('span', { class: 'legend' }, html('span', {}, 'Bars:'));
  for (const [key, name] of SHARE_NAMES)
    legend.append(html('span', {}, html('i', { class: `swatch on-${key}` }), name));
  legend.append(html('label', { class: 'option' }, shared, 'same scale for all maps'));
  grid.append(legend);
  const makeStop = roveFocus(grid, thumbnails.map(({ button }) => button), heads + 1); // biome-ignore format: one line

  const show = () => {
    const { token, layer, head } = selection.state;
    const cells = thumbnails.map(({ choice }) => weights.cells(token, choice));
    const peaks = cells.map(values => values.reduce((a, b) => Math.max(a, b), 0));
    const highest = Math.max(...peaks);
    for (const [i, { choice, button, canvas, bar }] of thumbnails.entries()) {
      paintHeat(canvas, cells[i], shared.checked ? highest : peaks[i]);
      const shares = weights.shares(token, choice);
      bar.replaceChildren(...shareParts(shares));
      button.title = `${choiceName(choice)}: ${percent(shares.image)} on the image, peak ${percent(peaks[i])}`;
      const chosen = choice.layer === layer && choice.head === head;
      button.classList.toggle('selected', chosen);
      button.setAttribute('aria-pressed', String(chosen));
    }
  };
  shared.addEventListener('change', show);
  selection.subscribe(show);
  const { layer, head } = selection.state;
  makeStop(thumbnails.findIndex(({ choice }) => choice.layer === layer && choice.head === head));
  const hint = 'By layer (L) and head. Hover over a map to show it on the image; click to keep it.';
  return card('heads', 'Cross-attention', hint, grid);
}

function makeThumbnail(choice: HeadChoice, { attention }: Report, selection: Selection): Thumbnail {
  const canvas = html('canvas', { width: attention.columns, height: attention.rows });
  const bar = html('span', { class: 'shares' });
  const button = html(
    'button',
    {
      type: 'button',
      class: 'thumbnail',
      'aria-label': choiceName(choice),
      onclick: () => selection.pin({ ...choice }),
      onpointerenter: () => selection.hover({ ...choice }),
      onpointerleave: () => selection.unhover(),
    },
    canvas,
    bar,
  );
  return { choice, button, canvas, bar };
}
