import { Florence2Error } from '../errors.ts';

/**
 * Returns the base URL of a checkpoint's files: a URL as it is, a hub id as its address on the hub. Takes the place of
 * find.ts in browsers.
 *
 * @throws Florence2Error for other names
 */
export async function findCheckpoint(
  name: string,
  { revision = 'main', subfolder }: { revision?: string; subfolder?: string; files?: string } = {},
): Promise<string> {
  const below = subfolder === undefined ? '' : `/${subfolder}`;
  if (/^(https?:\/\/|\.{0,2}\/)/i.test(name)) return `${name}${below}`;
  if (/^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(name)) return `https://huggingface.co/${name}/resolve/${revision}${below}`;
  throw new Florence2Error(`"${name}" is neither a URL nor a hub id such as microsoft/Florence-2-base.`);
}

/** Returns the folder of an adapter, see `findCheckpoint`. */
export const findAdapter = (name: string, place: { revision?: string; subfolder?: string } = {}): Promise<string> =>
  findCheckpoint(name, { ...place, files: 'adapter' });
