import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** The command lines of a page's `sh` blocks, without comments; those of one section where it is named. */
export function commandsOf(page: string, section?: string): string[] {
  const text = readFileSync(join(root, page), 'utf8');
  const parts = text.split(/^(?=## )/m).filter(part => section === undefined || part.startsWith(`## ${section}\n`));
  const blocks = parts.flatMap(part => [...part.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block]) => block));
  return blocks
    .flatMap(block => block.replaceAll(/\\\n\s*/g, '').split('\n'))
    .map(line => line.replace(/\s+#.*$/, '').trim())
    .filter(line => line !== '');
}

export interface Outcome {
  code: number | null;
  /** Of stdout and stderr. */
  output: string;
}

/** Runs a command of this repository as in a clone, in another folder, with further arguments. */
export function runCommand(command: string, folder: string, ...more: string[]): Promise<Outcome> {
  const words = command.split(/\s+/);
  const args = command.startsWith('npm run florence2 -- ')
    ? [join(root, 'src/cli/main.ts'), ...words.slice(4)]
    : command.startsWith('npx tsx tools/')
      ? [join(root, words[2]), ...words.slice(3)]
      : undefined;
  if (!args) throw new Error(`No way is known to run: ${command}`);
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), ...args, ...more], { cwd: folder });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => {
      output += text;
    });
  }
  return new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', code => done({ code, output }));
  });
}

/** The `ts` blocks of one section of a page as one program, which imports this repository's sources. */
export function programOf(page: string, section: string): string {
  const text = readFileSync(join(root, page), 'utf8');
  const part = text.split(/^(?=## )/m).find(part => part.startsWith(`## ${section}\n`)) ?? '';
  const blocks = [...part.matchAll(/^```ts\n(.*?)^```/gms)].map(([, block]) => block);
  return blocks
    .join('\n')
    .replaceAll("'florence2-tfjs'", JSON.stringify(join(root, 'src/index.ts')))
    .replaceAll("'florence2-tfjs/graph'", JSON.stringify(join(root, 'src/runtime/graph/graph.ts')));
}
