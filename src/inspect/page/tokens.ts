import type { Report } from '../report.ts';
import { card, html, percent, roveFocus, scrollWithin, shortText, visibleText } from './dom.ts';
import type { Selection } from './selection.ts';
import type { Weights } from './weights.ts';

/** Creates the list of the answer's tokens: bars show probabilities, colours the region of each token. */
export function tokenList(report: Report, weights: Weights, selection: Selection): HTMLElement {
  const regionOf = new Map<number, string>();
  for (const { locationTokens, labelTokens, color } of report.regions) {
    for (const token of [...locationTokens, ...labelTokens]) if (!regionOf.has(token)) regionOf.set(token, color);
  }
  const chips = report.tokens.map((token, i) => {
    const color = regionOf.get(i);
    return html(
      'button',
      {
        type: 'button',
        class: `token ${token.kind}${color ? ' linked' : ''}${token.forced ? ' forced' : ''}`,
        style: `--p: ${token.p}${color ? `; --c: ${color}` : ''}`,
        'data-token': i,
        'aria-label': `Token ${i}: ${token.text}, ${percent(token.p)}${token.forced ? ', forced' : ''}`,
        onclick: () => selection.pin({ token: i, region: null }),
        onpointerenter: () => selection.hover({ token: i, region: null }),
        onpointerleave: () => selection.unhover(),
      },
      html('span', { class: 'text' }, ...shortText(token.text, token.coordinate?.axis)),
    );
  });
  const list = html('div', { class: 'token-list', role: 'group', 'aria-label': 'Tokens of the answer' }, ...chips);
  const makeStop = roveFocus(list, chips);

  selection.subscribe(({ token, region, layer, head, cell }) => {
    const active = new Set(
      selection.regions.flatMap(i => [...report.regions[i].locationTokens, ...report.regions[i].labelTokens]),
    );
    const looked = cell === null ? [] : chips.map((_, i) => weights.cells(i, { layer, head })[cell]);
    const most = Math.max(...looked, 1e-9);
    list.classList.toggle('by-cell', cell !== null);
    for (const [i, chip] of chips.entries()) {
      chip.classList.toggle('selected', i === token);
      chip.classList.toggle('related', active.has(i));
      chip.setAttribute('aria-pressed', String(i === selection.token));
      if (cell !== null) chip.style.setProperty('--looked', String(looked[i] / most));
    }
    const first = region !== null && active.size > 0 ? Math.min(...active) : token;
    if (cell === null) scrollWithin(list, chips[first]);
  });
  makeStop(selection.token);
  const hint = 'Bars show probabilities. Hover over a token, or use ← and →; click to keep it.';
  return card('tokens', 'Answer', hint, list, chosenToken(report, selection));
}

/** Creates the details of the current token, with its most probable alternatives. */
function chosenToken(report: Report, selection: Selection): HTMLElement {
  const name = html('p', { class: 'name' });
  const list = html('ol', { class: 'alternatives', 'aria-label': 'Most probable tokens at this position' });
  selection.subscribe(({ token: index }) => {
    const token = report.tokens[index];
    const { coordinate } = token;
    const facts = [
      `token ${index} of ${report.tokens.length}`,
      `id ${token.id}`,
      `rank ${token.rank}`,
      `entropy ${token.entropy.toFixed(2)} nats`,
      coordinate && `${coordinate.axis} = ${coordinate.value.toFixed(1)} px`,
      token.forced && 'forced by the generation settings',
    ];
    name.replaceChildren(
      html('span', { class: 'big mono' }, ...visibleText(token.text)),
      html('span', { class: 'big' }, percent(token.p)),
      html('span', { class: 'hint' }, facts.filter(Boolean).join(' · ')),
    );
    const rows = token.alternatives.map(({ text, p }) => ({ text, p, said: text === token.text }));
    if (!rows.some(({ said }) => said)) rows.splice(-1, 1, { text: token.text, p: token.p, said: true });
    list.replaceChildren(
      ...rows.map(({ text, p, said }) =>
        html(
          'li',
          { class: said ? 'said' : '' },
          html('span', { class: 'mono word' }, ...visibleText(text)),
          html('span', { class: 'bar' }, html('i', { style: `width: ${(100 * p).toFixed(2)}%` })),
          html('span', { class: 'number' }, percent(p)),
        ),
      ),
    );
  });
  return html('div', { class: 'chosen' }, name, list);
}
