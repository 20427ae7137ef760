import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Returns the path of a figure, and creates its folder: by default out/studies, which Git ignores. */
export async function figurePath(
  name: string,
  folder = join(import.meta.dirname, '../../out/studies'),
): Promise<string> {
  await mkdir(folder, { recursive: true });
  return join(folder, name);
}
