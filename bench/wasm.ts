/**
 * Times the vision tower on wasm in a browser: a naive port (wasm/naive_davit.ts), ours, and ours with threads.
 *
 *     npx tsx bench/wasm.ts [--shape base|tiny] [--side PIXELS] [--runs N]
 *
 * Requires Chromium. Each variant runs in a separate page. They run in turns, and the results are the ratios of the
 * times within each turn. Writes bench/results/wasm-SHAPE.json.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, type Plugin } from 'esbuild';
import { exitOnError } from '../src/cli/exit.ts';
import { Florence2Error } from '../src/errors.ts';
import { BrowserPage, chromium } from '../test/inspect/chromium.ts';
import { median, rounded, spread, writeReport } from './report.ts';
import type { Timed } from './wasm/page.ts';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'base' },
    side: { type: 'string', default: '384' },
    runs: { type: 'string', default: '2' },
  },
});
const ways = { 'naive port': "'naive', false", ours: "'ours', false", 'ours, threads': "'ours', true" };

async function main(): Promise<void> {
  if (!chromium) throw new Florence2Error('Chromium is not installed.');
  const address = await serve();
  const turns: Record<string, number[]> = Object.fromEntries(Object.keys(ways).map(way => [way, []]));
  const sums: number[] = [];
  for (let turn = 0; turn < Number(values.runs); turn++) {
    for (const [way, settings] of Object.entries(ways)) {
      const { backend, times, sum } = await timeInPage(
        address,
        `time(${settings}, '${values.shape}', ${values.side}, 1)`,
      );
      turns[way].push(times[0]);
      sums.push(sum);
      console.log(`${way.padEnd(16)} ${Math.round(times[0])} ms (${backend})`);
    }
  }
  if (Math.max(...sums) / Math.min(...sums) > 1.0001)
    throw new Florence2Error(`The feature maps differ: Σ|y| is ${sums.join(', ')}.`);
  const naive = turns['naive port'];
  const measured = Object.entries(turns).map(([way, times]) => {
    return { way, ms: rounded(median(times)), toNaive: spread(times.map((time, turn) => time / naive[turn])) };
  });
  for (const { way, ms, toNaive } of measured)
    console.log(`${way.padEnd(16)} ${ms} ms, ${toNaive.median} × naive port`);
  await writeReport(`wasm-${values.shape}`, { shape: values.shape, side: Number(values.side), measured });
  process.exit();
}

async function timeInPage(address: string, expression: string): Promise<Timed> {
  const page = await BrowserPage.start();
  try {
    await page.send('Page.navigate', { url: address });
    await page.until('globalThis.time');
    return await page.evaluate<Timed>(expression);
  } finally {
    await page.close();
  }
}

/** Replaces Node's modules by empty ones: the bundle contains the tensorflow backend, which never runs in a browser. */
const withoutNode: Plugin = {
  name: 'without node',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: 'node' }));
    onLoad({ filter: /.*/, namespace: 'node' }, () => ({ contents: 'module.exports = {};' }));
  },
};

/** Serves the page and tfjs's wasm files, with cross-origin isolation, which threads require. */
async function serve(): Promise<string> {
  const entry = fileURLToPath(new URL('wasm/page.ts', import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'esm', write: false, plugins: [withoutNode] }); // biome-ignore format: one line
  const binaries = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm'));
  const server = createServer((request, response) => {
    response.setHeader('cross-origin-opener-policy', 'same-origin');
    response.setHeader('cross-origin-embedder-policy', 'require-corp');
    if (request.url?.startsWith('/wasm/')) {
      response.setHeader('content-type', 'application/wasm').end(readFileSync(join(binaries, basename(request.url))));
    } else {
      const script = outputFiles[0].text.replaceAll('</script', '<\\/script');
      response.setHeader('content-type', 'text/html').end(`<!doctype html><script type="module">${script}</script>`);
    }
  });
  await new Promise<void>(resolve => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return `http://localhost:${(server.address() as AddressInfo).port}/`;
}

await exitOnError(main);
