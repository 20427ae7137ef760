import { spawn, spawnSync } from 'node:child_process';

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

const python = process.env.FLORENCE2_PYTHON ?? 'python3';

/** Returns why Python (FLORENCE2_PYTHON, or python3) cannot import these modules; undefined if it can. */
export function pythonLacks(modules: string[]): string | undefined {
  const { status, error } = spawnSync(python, ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' });
  if (error) return `${python} cannot be run (set FLORENCE2_PYTHON)`;
  return status === 0 ? undefined : `${python} lacks one of ${modules.join(', ')} (FLORENCE2_PYTHON sets another)`;
}

export function runPython(args: string[]): Promise<Outcome> {
  const child = spawn(python, args, { env: { ...process.env, HF_HUB_OFFLINE: '1' } });
  const outcome: Outcome = { code: null, stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', text => {
      outcome[name] += text;
    });
  }
  return new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', code => done({ ...outcome, code }));
  });
}
