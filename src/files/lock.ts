import { existsSync } from 'node:fs';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Florence2Error } from '../errors.ts';
import { writeError } from './errors.ts';
import { isRunning, makeFolder } from './write.ts';

/**
 * Runs `body` while holding a lock file. A lock whose process has ended, for example by a power cut, is taken over; one
 * from another machine is not, because its processes are not visible here.
 *
 * @param activity what holds the lock, for the message: `setup`, `training in out/run`
 * @throws Florence2Error if another process holds the lock, or its folder cannot be written
 */
export async function withLock<T>(file: string, activity: string, body: () => Promise<T>): Promise<T> {
  await acquire(file, activity);
  try {
    return await body();
  } finally {
    await rm(file, { force: true });
  }
}

/** The process that holds a lock. */
interface Owner {
  pid: number;
  host: string;
  /** When it started, in the system's units; null where the system does not tell. Process ids are used again. */
  started: string | null;
}

async function acquire(file: string, activity: string): Promise<void> {
  const folder = dirname(file);
  const own: Owner = { pid: process.pid, host: hostname(), started: await startOf(process.pid) };
  for (;;) {
    await makeFolder(folder).catch(error => {
      if (existsSync(folder)) throw new Florence2Error(`${folder} is not a folder.`, { code: 'FILE_NOT_WRITABLE' });
      throw writeError(folder, error);
    });
    try {
      return await writeFile(file, JSON.stringify(own), { flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw writeError(folder, error);
    }
    const owner = await readOwner(file);
    if (owner === 'unfinished') {
      await setTimeout(100);
      continue;
    }
    if (owner && (await isHeld(owner))) {
      const where = owner.host === own.host ? '' : ` on ${owner.host}`;
      throw new Florence2Error(
        `Another ${activity} is running (process ${owner.pid}${where}). Wait until it ends. If it has ended, delete ${file}.`,
      );
    }
    await rm(file, { force: true });
  }
}

/** Returns undefined for a lock file that is gone or unreadable; `unfinished` if its process may still write it. */
async function readOwner(file: string): Promise<Owner | 'unfinished' | undefined> {
  try {
    const { mtimeMs } = await stat(file);
    const text = await readFile(file, 'utf8');
    if (text === '' && Date.now() - mtimeMs < 2000) return 'unfinished';
    return JSON.parse(text) as Owner;
  } catch {
    return undefined;
  }
}

async function isHeld({ pid, host, started }: Owner): Promise<boolean> {
  if (host !== hostname()) return true;
  return isRunning(pid) && started === (await startOf(pid));
}

/** Returns when a process started, in clock ticks since the machine's start (Linux). */
async function startOf(pid: number): Promise<string | null> {
  const fields = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  // The name in parentheses may contain spaces. The start is the 22nd field, the 20th after the name.
  return fields?.slice(fields.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}
