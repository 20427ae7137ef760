import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Florence2Error } from '../../errors.ts';

/** A program and its leading arguments, such as ['ccache', 'g++']. */
export type Command = string[];

/**
 * Returns a working C++17 compiler: $CXX if it is set, else the first of c++, g++ and clang++.
 * @throws Florence2Error if none works. The message names those tried and how to install one.
 */
export async function findCompiler(env: NodeJS.ProcessEnv = process.env): Promise<Command> {
  const named = env.CXX?.split(/\s+/).filter(Boolean);
  const candidates: Command[] = named?.length ? [named] : [['c++'], ['g++'], ['clang++']];
  const reasons: string[] = [];
  for (const command of candidates) {
    const sample = '#include <memory>\n#include <string_view>\nint main() { return std::string_view("").size(); }\n';
    const { code, output } = await run([...command, '-std=c++17', '-fsyntax-only', '-x', 'c++', '-'], env, sample);
    if (code === 0) return command;
    reasons.push(`${command.join(' ')} (${code === undefined ? 'not found' : (errorLine(output) ?? `code ${code}`)})`);
  }
  throw new Florence2Error(
    `No working C++17 compiler was found; tried ${reasons.join(', ')}. Install one and run the command again: on Debian and Ubuntu ` +
      '"apt-get install g++", on Fedora "dnf install gcc-c++", on macOS "xcode-select --install". Or set CXX to a compiler.',
    { code: 'SETUP' },
  );
}

/** Returns the first error line in the output of a compiler or linker. */
const errorLine = (output: string) =>
  output
    .split('\n')
    .find(line => /error|cannot|fatal|undefined/i.test(line))
    ?.trim();

/** Returns the folder of node_api.h in the running Node's distribution, if it has one. */
export function findNodeHeaders(): string | undefined {
  const folder = join(dirname(dirname(process.execPath)), 'include/node');
  return existsSync(join(folder, 'node_api.h')) ? folder : undefined;
}

export interface Addon {
  sources: string[];
  output: string;
  includes: string[];
  /** Additional compiler flags. */
  flags?: string[];
  /** The libraries to link to. When the addon is loaded, they are searched in its own folder. */
  libraries?: { folder: string; names: string[] };
}

/**
 * Compiles a Node-API addon.
 * @throws Florence2Error with the compiler's first error. Its whole output is written to the file `log`.
 */
export async function compileAddon(compiler: Command, addon: Addon, log: string): Promise<void> {
  const mac = process.platform === 'darwin';
  const { folder, names } = addon.libraries ?? { folder: '', names: [] };
  const command = [
    ...compiler,
    ...(mac ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-fPIC']),
    ...['-O2', '-std=c++17', '-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=addon'],
    ...(addon.flags ?? []),
    ...addon.includes.map(include => `-I${include}`),
    ...addon.sources,
    ...['-o', addon.output],
    ...names.map(name => join(folder, name)),
    ...(names.length > 0 ? [`-Wl,-rpath,${mac ? '@loader_path' : '$ORIGIN'}`] : []),
  ];
  const { code, output } = await run(command, process.env);
  if (code === 0) return;
  await writeFile(log, `${command.join(' ')}\n\n${output}`);
  throw new Florence2Error(
    `${compiler[0]} failed: ${errorLine(output) ?? `code ${code}`} (see ${log} for the whole output)`,
    { code: 'SETUP' },
  );
}

/** Runs a program. Returns its output and exit code; no code means that the program could not be started. */
function run(command: Command, env: NodeJS.ProcessEnv, input = ''): Promise<{ code?: number; output: string }> {
  return new Promise(resolve => {
    const child = spawn(command[0]!, command.slice(1), {
      env: { ...env, LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', text => (output += text));
    child.stderr.setEncoding('utf8').on('data', text => (output += text));
    child.stdin.on('error', () => {}); // a compiler that fails to start closes its stdin
    child.stdin.end(input);
    child.on('error', error => resolve({ output: error.message }));
    child.on('close', code => resolve({ code: code ?? -1, output }));
  });
}
