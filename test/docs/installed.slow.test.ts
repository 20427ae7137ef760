/**
 * The package as npm and pnpm install it, in an empty strict TypeScript project: every program of the README compiles as
 * it is written and runs on the shipped checkpoint, and the command runs. Needs npm's registry; takes some minutes.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../weights/temporary.ts';
import { programsOf, root } from './pages.ts';

const temporary = temporaryFolder();

function run(folder: string, command: string, ...args: string[]): string {
  const shell = process.platform === 'win32';
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: folder, encoding: 'utf8', shell });
  assert.is(status, 0, `${[command, ...args].join(' ')}\n${stdout}\n${stderr}\n${error ?? ''}`);
  return stdout;
}

/** Packs a copy of the repository, so that the build does not replace a `dist` that another test reads. */
function pack(): string {
  const copy = join(temporary, 'copy');
  for (const name of [
    'package.json',
    'tsconfig.json',
    'README.md',
    'CHANGELOG.md',
    'LICENSE',
    'src',
    'docs',
    'weights',
  ]) {
    cpSync(join(root, name), join(copy, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  run(copy, 'npm', 'run', 'build');
  run(copy, 'npm', 'pack', '--ignore-scripts', '--pack-destination', temporary);
  return join(temporary, readdirSync(temporary).find(name => name.endsWith('.tgz'))!);
}

const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const tools = ['typescript', '@types/node'].map(name => `${name}@${devDependencies[name]}`);
const compilerOptions = {
  strict: true,
  skipLibCheck: true,
  module: 'nodenext',
  target: 'es2022',
  types: ['node'],
  outDir: 'built',
};
const pages = [
  'README.md',
  'docs/concepts.md',
  'docs/decoding.md',
  'docs/hooks.md',
  'docs/attention.md',
  'docs/patching.md',
  'docs/speed.md',
];

for (const [manager, install] of [
  ['npm', ['npm', 'install', '--no-audit', '--no-fund', '--loglevel=error']],
  ['pnpm', ['npx', '--yes', 'pnpm@10', 'add', '--reporter=silent']],
] as const) {
  test(`the programs of the README compile and run in a project of ${manager}`, () => {
    const project = join(temporary, manager);
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'project', private: true, type: 'module' }));
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
    const [command, ...args] = install;
    run(project, command, ...args, tarball, ...tools);
    const installed = join(project, 'node_modules/florence2-tfjs');
    cpSync(join(installed, 'docs'), join(project, 'docs'), { recursive: true, dereference: true });

    const programs = pages.flatMap(page => programsOf(page).map((text, i) => ({ name: `${page.replace(/\W/g, '_')}_${i}`, text }))); // biome-ignore format: one line
    for (const { name, text } of programs) writeFileSync(join(project, `${name}.ts`), text);
    run(project, process.execPath, 'node_modules/typescript/bin/tsc', '-p', '.');
    for (const { name } of programs) if (name.startsWith('README')) run(project, process.execPath, `built/${name}.js`);

    const cli = join(installed, 'dist/cli/main.js');
    const asked = ['run', 'docs/scenes/scene-1.png', '--model', 'demo', '--task', 'caption', '--json'];
    assert.match(run(project, process.execPath, cli, ...asked), /"answer":"a green circle and a green star"/);
    assert.ok(existsSync(join(project, 'out/emeralds/latest/adapter_model.safetensors')));
  });
}

const tarball = pack();
test.run();
