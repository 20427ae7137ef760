import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type Job, testFolder } from './jobs.ts';

const root = dirname(testFolder);

/**
 * Records which jobs of `npm test` passed, so that `npm run test:all` does not repeat them. The record is valid for the
 * same sources, the same Node and the same reference folder. For files that do not import test/backend.ts, the presence
 * of the tensorflow backend must be the same too.
 */
export class PassedJobs {
  private readonly state: string;
  private readonly passed: Set<string>;

  /** @param backends the backends found here; commands that tests start choose among them */
  constructor(
    private readonly backends: readonly string[],
    private readonly recordFile = join(root, 'node_modules/.cache/florence2-tests.json'),
  ) {
    this.state = fingerprint();
    const record = existsSync(recordFile) ? JSON.parse(readFileSync(recordFile, 'utf8')) : {};
    this.passed = new Set(record.state === this.state ? record.passed : []);
  }

  has(job: Job): boolean {
    return this.passed.has(this.keyOf(job));
  }

  add(job: Job): void {
    this.passed.add(this.keyOf(job));
  }

  save(): void {
    mkdirSync(dirname(this.recordFile), { recursive: true });
    writeFileSync(this.recordFile, JSON.stringify({ state: this.state, passed: [...this.passed] }));
  }

  private keyOf({ file, backend }: Job): string {
    const tensorflow = this.backends.includes('tensorflow') ? 'with tensorflow' : 'without tensorflow';
    return `${relative(root, file)} ${backend ?? tensorflow}`;
  }
}

/** Returns a hash of the sources and of everything else that a result depends on. */
function fingerprint(): string {
  const hash = createHash('sha256').update(`${process.version} ${process.env.FLORENCE2_REFERENCE ?? ''}\n`);
  const list = ['ls-files', '--cached', '--others', '--exclude-standard', '-z'];
  const files = execFileSync('git', list, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
  for (const file of files.split('\0').filter(Boolean)) {
    const path = join(root, file);
    hash.update(`${file}\0`);
    if (existsSync(path)) hash.update(readFileSync(path));
  }
  return hash.digest('hex');
}
