import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Florence2Error, UsageError } from '../errors.ts';
import { nearestName } from '../names.ts';
import type { HubOptions } from './hub/download_model.ts';

/** A path within a folder or repository. */
const SUBFOLDER = /^(?!.*\.\.)[\w.-]+(\/[\w.-]+)*$/;

/** The checkpoint that ships with this package. */
const demoFolder = fileURLToPath(new URL('../../weights/demo', import.meta.url));

/**
 * Returns the folder of a checkpoint or, with `files: 'adapter'`, of an adapter. For Node; bundlers for browsers replace this module by find_browser.ts.
 *
 * @param name `demo` for the checkpoint that ships with this package, a folder, or a hub id such as
 *   `microsoft/Florence-2-base`, which is downloaded into the Hugging Face cache. A folder named demo is `./demo`.
 * @throws Florence2Error if the checkpoint does not exist or cannot be downloaded; the reason of an aborted signal
 */
export async function findCheckpoint(name: string, options: HubOptions = {}): Promise<string> {
  const { subfolder, files = 'checkpoint' } = options;
  const isAdapter = files === 'adapter';
  if (subfolder !== undefined && !SUBFOLDER.test(subfolder)) {
    throw new UsageError(`subfolder must be a path such as icon_caption, not "${subfolder}".`);
  }
  if (name === 'demo' && !isAdapter) return demoFolder;
  const local = await stat(name).catch(() => undefined);
  if (local?.isDirectory()) return join(resolve(name), subfolder ?? '');
  if (local)
    throw new Florence2Error(
      `${name} is a file: give the folder of the ${isAdapter ? 'adapter' : 'checkpoint'}, or a hub id.`,
      {
        code: 'FILE_NOT_FOUND',
      },
    );
  if (!isAdapter && !name.includes('/') && nearestName(name, ['demo']))
    throw new UsageError(`There is no model "${name}". Did you mean "demo"?`);
  if (!/^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(name)) {
    throw new Florence2Error(
      isAdapter
        ? `${name} is not a folder: an adapter is a folder with adapter_config.json, or a hub id (owner/name).`
        : `"${name}" is not a folder. Give a folder, a hub id such as microsoft/Florence-2-base, or "demo", the checkpoint that ships with this package.`,
      { code: 'FILE_NOT_FOUND' },
    );
  }
  const { downloadModel } = await import('./hub/download_model.ts');
  return downloadModel(name, options);
}

/** Returns the folder of an adapter, see `findCheckpoint`. */
export const findAdapter = (name: string, place: { revision?: string; subfolder?: string } = {}): Promise<string> =>
  findCheckpoint(name, { ...place, files: 'adapter' });
