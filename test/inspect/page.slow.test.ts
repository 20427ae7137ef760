/** Tests the report page in headless Chromium, offline. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { renderReport } from '../../src/inspect/html.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { BrowserPage, chromium } from './chromium.ts';
import { plausibleReport } from './plausible.ts';

if (!chromium) console.log('Skipped: no Chromium found.');

const folder = temporaryFolder();
const root = fileURLToPath(new URL('../..', import.meta.url));
const size = { width: 1280, height: 900 };

/** The pixels of the heat map. */
const heat = `Array.from(document.querySelector('.heat').getContext('2d').getImageData(0, 0, 240, 240).data).join()`;
const text = (selector: string) => `document.querySelector('${selector}').textContent`;
const classes = (selector: string) => `document.querySelector('${selector}').className.baseVal`;
const token = (index: number) => `.token[data-token="${index}"]`;

function inBrowser(name: string, body: (page: BrowserPage) => Promise<void>): void {
  const run = chromium ? test : test.skip;
  run(name, async () => {
    const page = await BrowserPage.start();
    try {
      await body(page);
      assert.equal(page.problems, []);
    } finally {
      await page.close();
    }
  });
}

async function open(page: BrowserPage, name: Parameters<typeof plausibleReport>[0], hash = ''): Promise<string> {
  const file = join(folder, `${name}.html`);
  writeFileSync(file, await renderReport(await plausibleReport(name)));
  const url = pathToFileURL(file).href;
  await page.open(url + hash, size);
  await page.until(`document.querySelector('.token.selected')`);
  return url;
}

inBrowser('the page loads completely offline and requests nothing but itself', async page => {
  const url = await open(page, 'od');
  assert.equal(page.requests, [url]);
  const counts = await page.evaluate(`['.token', '.thumbnail', '.lens td', '.region', '.charts figure']
    .map(selector => document.querySelectorAll(selector).length)`);
  const T = 2 + 6 * 5;
  assert.equal(counts, [T, 6 * 13 + 1, 7 * T, 6, 3]);
});

inBrowser('the heat map follows the token and head under the pointer, and returns to the selection', async page => {
  await open(page, 'caption');
  const begun = await page.evaluate<string>(heat);
  await page.point(token(9)); // yellow
  await page.until(`document.querySelector('${token(9)}').classList.contains('selected')`);
  const pointed = await page.evaluate<string>(heat);
  assert.is.not(pointed, begun);
  await page.pointAt(1, 1);
  assert.is(await page.evaluate(heat), begun);
  await page.point(token(9), { click: true });
  await page.pointAt(1, 1);
  assert.is(await page.evaluate(heat), pointed, 'a click keeps the selection');
  await page.point('.thumbnail:nth-of-type(20)', { click: true });
  assert.is.not(await page.evaluate(heat), pointed);
  assert.match(await page.evaluate<string>(text('.caption')), /layer 1, head 5.*yellow/);
  assert.is(await page.evaluate('location.hash'), '#token=9&layer=1&head=5');
});

inBrowser('arrow keys move between tokens and heads', async page => {
  await open(page, 'caption');
  const chosen = () => page.evaluate<string>(`document.querySelector('.token.selected').dataset.token`);
  assert.is(await chosen(), '1');
  await page.press('ArrowRight');
  assert.is(await chosen(), '2', 'without focus');
  await page.evaluate(`document.querySelector('.token.selected').focus()`);
  await page.press('ArrowRight');
  assert.is(await chosen(), '3');
  await page.press('Home');
  assert.is(await chosen(), '0');
  await page.evaluate(`document.querySelector('.thumbnail').focus()`);
  await page.press('ArrowDown');
  await page.press('ArrowRight');
  assert.match(await page.evaluate<string>(text('.caption')), /layer 1, head 0/);
  await page.press('Escape');
  assert.match(await page.evaluate<string>(text('.caption')), /all heads/);
});

inBrowser('regions and their tokens highlight each other', async page => {
  await open(page, 'od');
  await page.point(token(7)); // x of the first door
  await page.until(`document.querySelectorAll('.region.active').length === 1`);
  const related = `[...document.querySelectorAll('.token.related')].map(chip => Number(chip.dataset.token))`;
  assert.equal(await page.evaluate(related), [6, 7, 8, 9, 10]);
  assert.match(await page.evaluate<string>(`document.querySelector('.guide').getAttribute('d')`), /^M190\.\d+ 0V512$/);
  await page.pointAt(1, 1);
  await page.evaluate(`document.querySelector('.region[aria-label*="window"]').focus()`);
  assert.equal(await page.evaluate(related), [26, 27, 28, 29, 30]);
  await page.press('Enter');
  assert.match(await page.evaluate<string>(text('.chosen .name')), /<loc_39>/);
  assert.match(await page.evaluate<string>(classes('.region[aria-label*="window"]')), /active/);
});

inBrowser('hovering over a cell shows which tokens attend to it', async page => {
  await open(page, 'caption');
  const { x, y, width, height } = await page.evaluate<{ x: number; y: number; width: number; height: number }>(
    `document.querySelector('.stage').getBoundingClientRect().toJSON()`,
  );
  await page.pointAt(x + (500 / 768) * width, y + (100 / 512) * height); // the cells that "building" attends to
  const looked = await page.evaluate<number[]>(
    `[...document.querySelectorAll('.token')].map(chip => Number(chip.style.getPropertyValue('--looked')))`,
  );
  assert.is(looked.indexOf(1), 10);
  assert.match(await page.evaluate<string>(text('.readout')), /^Row 4, column 15: /);
});

inBrowser('nothing overlaps or is cut off at any width from phone to projector', async page => {
  const url = await open(page, 'ocr');
  for (const width of [390, 800, 1280, 1920]) {
    await page.open('about:blank', size);
    await page.open(url, { width, height: 900 });
    await page.until(`document.querySelector('.token.selected')`);
    assert.ok(await page.evaluate(`document.documentElement.scrollWidth <= ${width}`), `${width}: scrolls sideways`);
    const cut = await page.evaluate(`[...document.querySelectorAll('h1, h2, dd, .hint, .token, .corner, .tick')]
      .filter(({ scrollWidth, clientWidth }) => clientWidth > 0 && scrollWidth > clientWidth + 1).map(e => e.outerHTML)`);
    assert.equal(cut, [], `at ${width} pixels`);
    const crossing = await page.evaluate(`(() => {
      const ticks = [...document.querySelectorAll('.charts figure')].map(f => [...f.querySelectorAll('.tick')]);
      const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
      return ticks.flatMap(list => list.flatMap((one, i) => list.slice(i + 1)
        .filter(other => overlap(one.getBoundingClientRect(), other.getBoundingClientRect()))
        .map(other => one.textContent + ' and ' + other.textContent)));
    })()`);
    assert.equal(crossing, [], `at ${width} pixels`);
  }
});

inBrowser('texts of a report are not parsed as HTML', async page => {
  const report = await plausibleReport('caption');
  const evil = '</script><img src=x onerror="window.broken = true">';
  const file = join(folder, 'evil.html');
  const tokens = report.tokens.map(one => ({ ...one, text: evil }));
  const spoilt = { ...report, title: evil, prompt: evil, tokens, answer: { text: evil, truncated: true } };
  writeFileSync(file, await renderReport(spoilt));
  await page.open(pathToFileURL(file).href, size);
  await page.until(`document.querySelector('.token.selected')`);
  assert.is(await page.evaluate('window.broken'), undefined);
  assert.is(await page.evaluate(`document.querySelectorAll('img').length`), 1);
  assert.is(await page.evaluate(text('.token .text')), evil);
  assert.is(await page.evaluate('document.title'), evil);
});

inBrowser('the built package renders the same page as the sources', async page => {
  const built = join(folder, 'dist');
  mkdirSync(built);
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const args = ['node_modules/typescript/bin/tsc', '-p', 'src', '--outDir', built];
  spawnSync(process.execPath, args, { cwd: root }); // as `npm run build` does; type errors are checked elsewhere
  const { renderReport: render } = (await import(pathToFileURL(join(built, 'inspect/html.js')).href)) as {
    renderReport: typeof renderReport;
  };
  const url = await open(page, 'od');
  const draw = `document.getElementById('page').innerHTML`;
  const expected = await page.evaluate<string>(draw);
  writeFileSync(fileURLToPath(url), await render(await plausibleReport('od')));
  await page.open('about:blank', size);
  await page.open(url, size);
  await page.until(`document.querySelector('.token.selected')`);
  assert.is(await page.evaluate(draw), expected);
  assert.not.match(readFileSync(fileURLToPath(url), 'utf8'), /sourceMappingURL/);
});

test.run();
