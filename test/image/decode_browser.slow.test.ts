import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeImage } from '../../src/image/decode.ts';
import { imagePath } from './reference_images.ts';

// Tests the browser's decoder in Chromium, if installed.
const browser = ['chromium', 'chromium-browser', 'google-chrome'].find(
  name => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);

/** Opaque 8-bit images, which browsers decode to the same pixels as Node. exif_orientation6.jpg must not be rotated. */
const names = [
  'photo.png', 'gray.png', 'bilevel.png', 'palette.png', 'rgb16.png', 'photo.jpg', 'photo_420_progressive.jpg',
  'gray.jpg', 'exif_orientation6.jpg', 'lossy.webp', 'frame.gif', 'photo.bmp',
]; // biome-ignore format: a list

if (browser === undefined) console.log('decode_browser: no Chromium found, skipped');
else {
  test('Chromium decodes the same pixels as Node', async () => {
    const ours = JSON.parse(await runInBrowser(browser)) as Record<string, { size: string; sha256: string }>;
    for (const name of names) {
      const { data, width, height } = await decodeImage(imagePath(name));
      const sha256 = createHash('sha256').update(data).digest('hex');
      assert.equal(ours[name], { size: `${width} x ${height}`, sha256 }, name);
    }
    assert.equal(ours['exif_orientation6.jpg, turned']!.size, '100 x 160');
    assert.match(ours.missing!.size, /missing.png cannot be read: the server answered 404/);
    assert.match(ours.cut!.size, /is a damaged or truncated PNG image/);
  });
}

const page = `
  import { decodeImage } from ${JSON.stringify(fileURLToPath(new URL('../../src/image/decode.ts', import.meta.url)))};
  const results = {};
  async function decode(key, input, options) {
    try {
      const { data, width, height } = await decodeImage(input, options);
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
      const sha256 = Array.from(hash, byte => byte.toString(16).padStart(2, '0')).join('');
      results[key] = { size: width + ' x ' + height, sha256 };
    } catch (error) {
      results[key] = { size: error.message };
    }
  }
  for (const name of ${JSON.stringify(names)}) await decode(name, location.origin + '/images/' + name);
  await decode('exif_orientation6.jpg, turned', location.origin + '/images/exif_orientation6.jpg', { orientation: 'apply' });
  await decode('missing', location.origin + '/images/missing.png');
  const photo = await (await fetch('/images/photo.png')).arrayBuffer();
  await decode('cut', new Uint8Array(photo, 0, 60));
  await fetch('/done', { method: 'POST', body: JSON.stringify(results) });`;

/** Serves the bundled page and the images, opens the page, and returns what it posts. */
async function runInBrowser(command: string): Promise<string> {
  const bundle = await build({ stdin: { contents: page, resolveDir: '.' }, bundle: true, format: 'esm', write: false });
  const script = bundle.outputFiles[0]!.text;
  const profile = mkdtempSync(join(tmpdir(), 'florence2-browser-'));
  let finish: (body: string) => void;
  const posted = new Promise<string>(resolve => {
    finish = resolve;
  });
  const server = createServer(async (request, response) => {
    if (request.method === 'POST') {
      finish(Buffer.concat(await request.toArray()).toString());
      response.end();
    } else if (request.url === '/') {
      response.setHeader('content-type', 'text/html').end(`<!doctype html><script type="module">${script}</script>`);
    } else {
      const name = names.find(n => request.url === `/images/${n}`);
      if (name === undefined) response.writeHead(404).end();
      else response.end(readFileSync(imagePath(name)));
    }
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`; // crypto.subtle: loopback counts as secure
  const child = spawn(command, ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${profile}`, url]);
  const timeout = setTimeout(() => finish('{}'), 60_000);
  try {
    return await posted;
  } finally {
    clearTimeout(timeout);
    const closed = new Promise(resolve => child.on('close', resolve));
    child.kill();
    await closed;
    server.close();
    server.closeAllConnections();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

test.run();
