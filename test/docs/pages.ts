import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../weights/temporary.ts';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** The command lines in a page's `sh` blocks, without comments. With a section, only those of that section. */
export function commandsOf(page: string, section?: string): string[] {
  const text = readFileSync(join(root, page), 'utf8');
  const parts = text.split(/^(?=## )/m).filter(part => section === undefined || part.startsWith(`## ${section}\n`));
  const blocks = parts.flatMap(part => [...part.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block]) => block));
  return blocks
    .flatMap(block => block.replaceAll(/\\\n\s*/g, '').split('\n'))
    .map(line => line.replace(/\s+#.*$/, '').trim())
    .filter(line => line !== '');
}

/** The programs in a page's `ts` blocks. A block that loads a checkpoint begins a program; those after it continue it. */
export function programsOf(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8');
  const programs: string[] = [];
  for (const [, block] of text.matchAll(/^```ts\n(.*?)^```/gms)) {
    if (programs.length === 0 || /Florence2\.load\(|useBackend\(/.test(block)) programs.push(block);
    else programs.push(`${programs.pop()}\n${block}`);
  }
  return programs;
}

/** A temporary folder with the repository's weights, docs and packages. */
export function folderLikeClone(): string {
  const folder = temporaryFolder();
  for (const name of ['weights', 'docs', 'node_modules']) symlinkSync(join(root, name), join(folder, name));
  return folder;
}

export interface Outcome {
  code: number | null;
  /** stdout and stderr. */
  output: string;
}

/**
 * Runs a command of a page with this repository's sources, in another folder, with further arguments. `> FILE` at its
 * end writes the output to a file.
 */
export async function runCommand(line: string, folder: string, ...more: string[]): Promise<Outcome> {
  const [command, file] = line.split(' > ');
  const words = [...command.matchAll(/"([^"]*)"|\S+/g)].map(([word, quoted]) => quoted ?? word);
  const florence2 = /^(npx florence2|npm run florence2 --) /.exec(command)?.[0].trim().split(' ').length;
  let args: string[];
  if (florence2) args = [join(root, 'src/cli/main.ts'), ...words.slice(florence2)];
  else if (command.startsWith('npx tsx tools/')) args = [join(root, words[2]), ...words.slice(3)];
  else throw new Error(`This test cannot run the command: ${command}`);
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), ...args, ...more], { cwd: folder });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => {
      output += text;
    });
  }
  const code = await new Promise<number | null>((done, failed) => {
    child.on('error', failed);
    child.on('close', done);
  });
  if (file !== undefined) writeFileSync(join(folder, file), output);
  return { code, output };
}

/** Runs a program of a page with this repository's sources. */
export function runProgram(program: string, folder: string): Outcome & { stdout: string } {
  const source = program
    .replaceAll("'florence2-tfjs'", JSON.stringify(join(root, 'src/index.ts')))
    .replaceAll("'florence2-tfjs/evaluation'", JSON.stringify(join(root, 'src/evaluation/metrics.ts')))
    .replaceAll("'florence2-tfjs/graph'", JSON.stringify(join(root, 'src/runtime/graph/graph.ts')));
  writeFileSync(join(folder, 'program.mts'), source);
  const args = ['--import', import.meta.resolve('tsx'), 'program.mts'];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
  return { code: status, stdout, output: stdout + stderr };
}
