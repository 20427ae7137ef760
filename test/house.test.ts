/** Compares the imports of src/ with the floors in docs/architecture.md, and bundles the browser's entry. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as browser from '../src/platform/browser.ts';
import * as node from '../src/platform/node.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const FEWEST_LINES = 40;
const MOST_LINES = 320;
const MOST_SHORT_FILES = 35;

/** Paths below src/ with their text. */
const files = new Map(
  readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .map(path => path.replaceAll('\\', '/'))
    .filter(path => path.endsWith('.ts'))
    .sort()
    .map(path => [path, readFileSync(join(root, 'src', path), 'utf8')]),
);

const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');

/** Floor of each folder and single file, from the rows `| 4 | \`image\`, … | … |`. */
const floors = new Map(
  [...page.matchAll(/^\| (\d+) \| ([^|]+) \|/gm)].flatMap(([, floor, names]) =>
    [...names.matchAll(/`([^`]+)`/g)].map(([, name]): [string, number] => [name, Number(floor)]),
  ),
);

/** Folder of a file, or the file itself if it is directly in src/. */
const roomOf = (path: string): string => path.split('/')[0];

/** What a file imports from src/, types and dynamic imports included. */
function importsOf(path: string): string[] {
  const specifiers = files.get(path)!.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g);
  return [...specifiers].map(([, specifier]) => posix.join(posix.dirname(path), specifier));
}

test('every folder and file of src has a floor and exists', () => {
  const rooms = new Set([...files.keys()].map(roomOf));
  assert.equal([...rooms].sort(), [...floors.keys()].sort());
});

test('the page says of each folder what belongs there', () => {
  const described = new Set([...page.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name));
  assert.equal([...described].sort(), [...floors.keys()].filter(name => !name.endsWith('.ts')).sort());
});

test('imports stay in their folder or go to a lower floor', () => {
  let imports = 0;
  const climbing: string[] = [];
  for (const path of files.keys()) {
    for (const target of importsOf(path)) {
      assert.ok(files.has(target), `src/${path} imports src/${target}, which does not exist`);
      imports++;
      const [from, to] = [roomOf(path), roomOf(target)];
      if (from !== to && floors.get(to)! >= floors.get(from)!) {
        climbing.push(`src/${path} (floor ${floors.get(from)}) imports src/${target} (floor ${floors.get(to)})`);
      }
    }
  }
  assert.ok(imports > 1000, `only ${imports} imports were found`);
  assert.equal(climbing, []);
});

test('files have one idea: not too many are short, none is long', () => {
  const lines = [...files].map(([path, text]) => ({ path, count: text.trimEnd().split('\n').length }));
  const long = lines.filter(({ count }) => count > MOST_LINES);
  assert.equal(long, []);
  const short = lines.filter(({ count }) => count < FEWEST_LINES).map(({ path, count }) => `${path}: ${count}`);
  assert.ok(
    short.length <= MOST_SHORT_FILES,
    `${short.length} files have fewer than ${FEWEST_LINES} lines:\n${short.join('\n')}`,
  );
});

/** Public names with the file that declares them, through re-exports. */
function publicNames(path: string): { name: string; path: string }[] {
  return [...files.get(path)!.matchAll(/^export (?:type )?(?:\*|\{([^}]*)\}) from '(\.[^']+)';/gm)].flatMap(
    ([, list, from]) => {
      const target = posix.join(posix.dirname(path), from);
      if (list === undefined) return [...publicNames(target), ...declaredNames(target)];
      const names = list.split(',').map(name => name.trim().replace(/^type /, ''));
      const passedOn = publicNames(target);
      return names.filter(Boolean).map(name => passedOn.find(other => other.name === name) ?? { name, path: target });
    },
  );
}

const declaredNames = (path: string): { name: string; path: string }[] =>
  [...files.get(path)!.matchAll(DECLARATION)].map(([, name]) => ({ name, path }));

/** An exported declaration. */
const DECLARATION = /^export (?:abstract |async )?(?:class|const|function\*?|interface|type) (\w+)/gm;

/** Whether a doc comment, and at most one directive of the linter, precedes a declaration. */
function hasDocComment(path: string, name: string): boolean {
  const text = files.get(path)!;
  const declaration = [...text.matchAll(DECLARATION)].find(([, other]) => other === name);
  return declaration !== undefined && /\*\/\n(\/\/ biome-ignore.*\n)?$/.test(text.slice(0, declaration.index));
}

test('every public name has a doc comment', () => {
  const names = publicNames('index.ts');
  assert.ok(names.length > 150, `only ${names.length} public names were found`);
  const bare = names.filter(({ name, path }) => !hasDocComment(path, name));
  assert.equal([...new Set(bare.map(({ name, path }) => `${name} in src/${path}`))], []);
});

test('both platforms export the same names and types', () => {
  const same: typeof node = browser;
  assert.equal(Object.keys(same).sort(), Object.keys(node).sort());
});

test('the browser entry bundles without Node modules', async () => {
  const { errors, warnings, outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ['src/browser.ts'],
    bundle: true,
    platform: 'browser',
    format: 'esm',
    outdir: 'out',
    write: false,
    logLevel: 'silent',
    logLimit: 0,
  });
  assert.equal(
    [...errors, ...warnings].map(({ text, location }) => `${location?.file}: ${text}`),
    [],
  );
  const [{ text }] = outputFiles;
  assert.equal(
    [...text.matchAll(/(?:from|import\(|require\()\s*"(node:[^"]+|sharp|undici|commander)"/g)].map(String),
    [],
  );
});

test.run();
