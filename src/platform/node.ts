/**
 * What differs between Node and browsers, for Node. Bundlers replace this module by browser.ts, which has the same
 * exports (package.json, "browser").
 */
import { fileURLToPath } from 'node:url';
import { createContext, Script } from 'node:vm';
import { Florence2Error } from '../errors.ts';
import { DiskFolder, openFile } from '../files/disk_folder.ts';
import { fileError } from '../files/errors.ts';
import type { Folder } from '../files/folder.ts';
import { readWholeFile } from '../files/whole_file.ts';
import { writeInFolder } from '../files/write.ts';
import type { Codec } from './codec.ts';
import { sharpCodec } from './sharp_codec.ts';

/** Decodes images. */
export const codec: Codec = sharpCodec;

/** Returns the files of a directory, which need not exist yet. */
export const openFolder = (path: string): Folder => new DiskFolder(path);

/**
 * Reads a file given by path or file URL; undefined for other URLs.
 *
 * @param most limit of the size in bytes
 * @throws Florence2Error if the file cannot be read
 */
export async function readLocalFile(
  input: string | URL,
  most?: number,
): Promise<{ bytes: Uint8Array; name: string } | undefined> {
  const isPath = input instanceof URL ? input.protocol === 'file:' : !/^(https?|data|blob):/i.test(input);
  if (!isPath) return undefined;
  let name = String(input);
  try {
    if (/^file:/i.test(name)) name = fileURLToPath(input);
    return { bytes: await readWholeFile(name, most), name };
  } catch (error) {
    throw fileError(name, error);
  }
}

const timed = { context: createContext({ run: () => {} }), script: new Script('run()') };

/**
 * Runs a function, such as a match of a regular expression from a file, and ends it after a time.
 *
 * @throws what `late` returns if it takes longer
 */
export function withTimeLimit<T>(milliseconds: number, run: () => T, late: () => Error): T {
  const outer = timed.context.run;
  timed.context.run = run;
  try {
    return timed.script.runInContext(timed.context, { timeout: milliseconds });
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT' ? late() : error;
  } finally {
    timed.context.run = outer;
  }
}

/** Whether this is Node: with a file system, and able to load TensorFlow. */
export const isNode: boolean = true;

export { openFile, writeInFolder as writeFile };

/**
 * Provides `navigator.gpu`, which Node lacks, from the npm package `webgpu` (Dawn). Does nothing if it exists.
 *
 * @throws Florence2Error if the package or the Vulkan loader is missing
 */
export async function provideWebgpu(): Promise<void> {
  if ((globalThis.navigator as { gpu?: unknown } | undefined)?.gpu) return;
  const dawn = await import('webgpu').catch(error => {
    const missing = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
    throw new Florence2Error(
      missing
        ? 'the package "webgpu" is not installed: npm install webgpu'
        : `loading "webgpu" failed: ${error.message}`,
      { code: 'BACKEND', cause: error },
    );
  });
  if (process.platform === 'linux' && !hasVulkanLoader()) {
    throw new Florence2Error('libvulkan.so.1 is missing: install the Vulkan loader (Debian and Ubuntu: libvulkan1).', {
      code: 'BACKEND',
    });
  }
  Object.assign(globalThis, dawn.globals);
  if (!globalThis.navigator) Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  Object.defineProperty(globalThis.navigator, 'gpu', { value: dawn.create([]), configurable: true });
}

/** Dawn reports a missing loader on stderr only. Opening a library that is not an addon fails with another message. */
function hasVulkanLoader(): boolean {
  try {
    process.dlopen({ exports: {} }, 'libvulkan.so.1');
  } catch (error) {
    return !(error as Error).message.includes('cannot open shared object file');
  }
  return true;
}

const ERROR_EVENTS = ['uncaughtException', 'unhandledRejection'] as const;

/**
 * Runs `start` and removes the error listeners that it adds to the process. Emscripten's start-up code adds some that
 * rethrow every uncaught error with a stack.
 */
export async function withoutErrorListeners<T>(start: () => Promise<T>): Promise<T> {
  const before = new Map<string, unknown[]>(ERROR_EVENTS.map(event => [event, process.rawListeners(event)]));
  try {
    return await start();
  } finally {
    for (const event of ERROR_EVENTS) {
      for (const listener of process.rawListeners(event)) {
        if (!before.get(event)?.includes(listener)) process.off(event, listener as () => void);
      }
    }
  }
}
