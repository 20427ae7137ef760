import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import { withLock } from '../../src/files/lock.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const newLock = (): string => join(temporaryFolder(), 'run/.lock');
const take = (file: string): Promise<boolean> => withLock(file, 'training', async () => existsSync(file));

async function refused(file: string, message: RegExp): Promise<void> {
  const error = await take(file).catch((error: Error) => error);
  assert.instance(error, Florence2Error);
  assert.match((error as Error).message, message);
  assert.ok((error as Error).message.includes(`delete ${file}`));
}

/** Starts a process that takes the lock and keeps it. */
async function holder(file: string): Promise<ChildProcess> {
  const module = fileURLToPath(new URL('../../src/files/lock.ts', import.meta.url));
  const program = `
    import { withLock } from ${JSON.stringify(module)};
    const forever = () => new Promise(() => { setInterval(() => {}, 1000); console.log('held'); });
    await withLock(${JSON.stringify(file)}, 'training', forever);`;
  const args = ['--import', 'tsx', '--input-type', 'module', '--eval', program];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'data');
  return child;
}

test('a lock is held during the work and removed after it, also if it fails', async () => {
  const file = newLock();
  assert.ok(await take(file));
  assert.not.ok(existsSync(file));
  const failing = withLock(file, 'training', () => Promise.reject(new Error('bad')));
  assert.is(await failing.catch((error: Error) => error.message), 'bad');
  assert.not.ok(existsSync(file));
});

test('another process is refused, until the holder is killed', async () => {
  const file = newLock();
  const child = await holder(file);
  await refused(file, new RegExp(`^Another training is running \\(process ${child.pid}\\)\\.`));
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.ok(existsSync(file), 'the killed process left its lock');
  assert.ok(await take(file));
});

test('two calls of one process exclude each other', async () => {
  const file = newLock();
  await withLock(file, 'training', () => refused(file, new RegExp(`process ${process.pid}\\)`)));
});

test('a lock from another machine is not taken over', async () => {
  const file = newLock();
  await take(file);
  writeFileSync(file, JSON.stringify({ pid: 999_999_999, host: `not-${hostname()}`, started: null }));
  await refused(file, new RegExp(`process 999999999 on not-${hostname()}`));
});

test('a lock is taken over if its process id belongs to a later process, or if its content is cut', async () => {
  const file = newLock();
  await take(file);
  const child = await holder(file);
  const content = readFileSync(file, 'utf8');
  child.kill('SIGKILL');
  await once(child, 'exit');
  const { started, ...owner } = JSON.parse(content);
  if (started !== null) {
    writeFileSync(file, JSON.stringify({ ...owner, pid: process.pid, started: '1' }));
    assert.ok(await take(file));
  }
  writeFileSync(file, content.slice(0, 10));
  assert.ok(await take(file));
});

test('a folder that cannot be written is named, not the lock in it', async () => {
  const file = join(temporaryFolder(), 'run');
  writeFileSync(file, '');
  const message = (lock: string): Promise<string> => take(lock).then(() => assert.unreachable(), error => error.message); // biome-ignore format: one line
  assert.is(await message(join(file, '.lock')), `${file} is not a folder.`);
  if (existsSync('/proc/self')) {
    assert.is(await message('/proc/run/.lock'), '/proc/run cannot be written: its folder takes no new files.');
  }
});

test.run();
