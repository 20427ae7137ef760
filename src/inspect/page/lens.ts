import type { Report } from '../report.ts';
import { card, html, percent, scrollWithin, shortText, visibleText } from './dom.ts';
import type { Selection } from './selection.ts';

/** Creates the table of the logit lens, a row per layer, and a line below it with the details of the current cell. */
export function lensTable(report: Report, selection: Selection): HTMLElement {
  const { lens, tokens } = report;
  const detail = html('div', { class: 'lens-detail' });
  const showCell = (layer: number, token: number) => detail.replaceChildren(...cellDetail(report, layer, token));
  const columns: HTMLElement[][] = tokens.map(() => []);
  const heads = tokens.map(({ text, coordinate }, token) => {
    const head = html('th', { scope: 'col', class: 'mono', onclick: () => selection.pin({ token, region: null }) });
    head.append(html('span', {}, ...shortText(text, coordinate?.axis)));
    columns[token].push(head);
    return head;
  });
  const rows = lens.layers.map((name, layer) => {
    const cells = tokens.map(({ text }, token) => {
      const [best] = lens.top[layer][token];
      const cell = html(
        'td',
        {
          class: best.text === text ? 'said' : '',
          style: `--p: ${best.p}`,
          onclick: () => selection.pin({ token, region: null }),
          onpointerenter: () => showCell(layer, token),
        },
        html('span', { class: 'mono' }, ...shortText(best.text)),
        html('small', {}, percent(best.p)),
      );
      columns[token].push(cell);
      return cell;
    });
    return html('tr', {}, html('th', { scope: 'row' }, name), ...cells);
  });
  const table = html(
    'table',
    {},
    html('thead', {}, html('tr', {}, html('th', { scope: 'col' }, 'answer'), ...heads)),
    html('tbody', {}, ...rows),
  );
  const scroller = html('div', { class: 'scroller', tabindex: 0, role: 'region', 'aria-label': 'Logit lens' }, table);
  scroller.addEventListener('pointerleave', () => showCell(lens.layers.length - 1, selection.state.token));

  let shown = -1;
  selection.subscribe(({ token }) => {
    showCell(lens.layers.length - 1, token);
    if (token === shown) return;
    for (const cell of columns[shown] ?? []) cell.classList.remove('selected');
    for (const cell of columns[token]) cell.classList.add('selected');
    shown = token;
    scrollWithin(scroller, columns[token][0], table.querySelector('th')?.offsetWidth);
  });
  const hint =
    "Predictions from each decoder layer as if it were the last: the head applied to its output. Framed: the answer's token.";
  return card('lens', 'Logit lens', hint, scroller, detail);
}

/** Returns the candidates of one cell. */
function cellDetail({ lens, tokens }: Report, layer: number, token: number): Node[] {
  const said = lens.said[layer][token];
  return [
    html('b', {}, `${lens.layers[layer]}, token ${token}`),
    ...lens.top[layer][token].map(({ text, p }) =>
      html('span', { class: 'candidate' }, html('span', { class: 'mono' }, ...visibleText(text)), ` ${percent(p)}`),
    ),
    html(
      'span',
      { class: 'hint' },
      'answer: ',
      html('span', { class: 'mono' }, ...visibleText(tokens[token].text)),
      ` ${percent(said)}`,
    ),
  ];
}
