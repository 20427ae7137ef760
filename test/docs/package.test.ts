/** What `npm pack` puts into the package: every page, and everything that pages link to or show. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from './pages.ts';

interface Packed {
  files: { path: string; size: number }[];
}

const npm = ['pack', '--dry-run', '--json', '--ignore-scripts'];
const { stdout, stderr } = spawnSync('npm', npm, { cwd: root, encoding: 'utf8', shell: process.platform === 'win32' });
assert.match(stdout, /^[[{]/, stderr);
const [packed] = Object.values(JSON.parse(stdout) as Record<string, Packed>); // a list in npm 10, an object in npm 11
const files = new Map(packed.files.map(({ path, size }) => [path, size]));
const pages = [...files.keys()].filter(path => path.endsWith('.md'));

/** Targets of links and images, of Markdown and of HTML, without their fragments. */
function linksOf(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8').replaceAll(/^```.*?^```/gms, '');
  const found = [...text.matchAll(/\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"/g)];
  return found.map(([, markdown, html]) => markdown ?? html).filter(link => !/^(https?:|#)/.test(link));
}

/** The headings of a page as GitHub and npm number them in addresses. */
function anchorsOf(page: string): string[] {
  const headings = [...readFileSync(join(root, page), 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading);
  return headings.map(heading => heading.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')); // biome-ignore format: one line
}

test('every link and picture of a page is in the package', () => {
  for (const page of ['README.md', 'docs/README.md', 'docs/concepts.md', 'CHANGELOG.md']) assert.ok(pages.includes(page), page);
  for (const page of pages) {
    for (const link of linksOf(page)) {
      const [path, anchor] = link.split('#');
      const target = posix.join(dirname(page), path);
      assert.ok(files.has(target), `${page} links to ${link}, which is not in the package`);
      if (anchor) assert.ok(anchorsOf(target).includes(anchor), `${page} links to ${link}, which ${target} does not have`);
    }
  }
}); // biome-ignore format: messages

test('docs/README.md lists every page', () => {
  const listed = linksOf('docs/README.md').map(link => posix.join('docs', link));
  for (const page of pages.filter(page => page !== 'docs/README.md')) assert.ok(listed.includes(page), page);
});

test('the package has neither source maps nor the sources of studies, and little besides the checkpoint', () => {
  assert.ok(files.has('weights/demo/model.safetensors'));
  for (const path of files.keys()) assert.not.match(path, /\.map$|^docs\/.*\.ts$|^(test|tools|bench)\//);
  const bytes = [...files].reduce((sum, [path, size]) => sum + (path.startsWith('dist/') ? 0 : size), 0);
  assert.ok(bytes < 8e6, `${bytes} bytes without dist`);
  assert.ok(existsSync(join(root, 'docs/scenes/scene-1.png')) && files.has('docs/scenes/scene-1.png'));
});

test.run();
