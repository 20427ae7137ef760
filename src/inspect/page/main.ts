import type { Report } from '../report.ts';
import { html } from './dom.ts';
import { headGrid } from './heads.ts';
import { lensTable } from './lens.ts';
import { normCharts } from './norms.ts';
import { picture } from './picture.ts';
import { Selection } from './selection.ts';
import { tokenList } from './tokens.ts';
import { Weights } from './weights.ts';

/** Builds the page from its data. */
async function main(): Promise<void> {
  const report: Report = JSON.parse(document.getElementById('report')!.textContent!);
  const weights = await Weights.unpack(report.attention);
  const selection = new Selection(report);
  const image = picture(report, weights, selection);
  const words = html(
    'div',
    { class: 'words' },
    tokenList(report, weights, selection),
    headGrid(report, weights, selection),
  );
  const top = html('div', { class: 'columns' }, image, words);
  document
    .getElementById('page')!
    .replaceChildren(heading(report), html('main', {}, top, lensTable(report, selection), normCharts(report)));
  selection.notify();
  document.addEventListener('keydown', event => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === 'Escape') selection.pin({ layer: null, head: null, region: null });
    else if (by && document.activeElement === document.body && !event.metaKey && !event.altKey) selection.step(by);
  });
}

function heading({ model, image, task, prompt, answer }: Report): HTMLElement {
  const facts: [string, string | undefined][] = [
    ['Model', model.name],
    ['Adapter', model.adapter],
    ['Image', `${image.name}, ${image.width} × ${image.height}`],
    ['Task', task],
    ['Prompt', prompt],
    ['Backend', model.backend],
  ];
  const list = html('dl', {});
  for (const [name, value] of facts)
    if (value) list.append(html('div', {}, html('dt', {}, name), html('dd', {}, value)));
  const head = html('header', { class: 'page-head' }, html('h1', {}, 'Florence-2 report'), list);
  if (answer.truncated) head.append(html('p', { class: 'warning' }, 'This answer was cut off at the token limit.'));
  return head;
}

main().catch(error => {
  document.getElementById('page')!.textContent = `This report cannot be shown: ${error}`;
  throw error;
});
