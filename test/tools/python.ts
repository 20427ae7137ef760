import { spawn, spawnSync } from 'node:child_process';

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

const python = process.env.FLORENCE2_PYTHON ?? 'python3';

/** Why no Python here can import these modules; undefined where one can. FLORENCE2_PYTHON names it. */
export function pythonLacks(modules: string[]): string | undefined {
  const { status, error } = spawnSync(python, ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' });
  if (error) return `there is no ${python} (FLORENCE2_PYTHON)`;
  return status === 0 ? undefined : `${python} lacks one of ${modules.join(', ')} (FLORENCE2_PYTHON names another)`;
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
