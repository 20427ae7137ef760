import { join } from 'node:path';
import envPaths from 'env-paths';

/**
 * The folder where this package keeps what is expensive to get again: outside node_modules, so that `npm ci` spares it.
 * The platform's cache folder for the user, or FLORENCE2_CACHE.
 */
export function cacheRoot(): string {
  return process.env.FLORENCE2_CACHE || envPaths('florence2', { suffix: '' }).cache;
}

/** One folder per kept build of TensorFlow. */
export const tensorflowRoot = () => join(cacheRoot(), 'tensorflow');

/** Files on their way here. A finished setup leaves nothing in it. */
export const downloadRoot = () => join(cacheRoot(), 'downloads');
