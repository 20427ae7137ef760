import { writeRandomCheckpoint } from '../tools/random_checkpoint.ts';
import { temporaryFolder } from './weights/temporary.ts';

/** A folder with a tiny checkpoint of random weights, whose answers end by themselves. */
export async function tinyCheckpoint(seed = 0): Promise<string> {
  const folder = temporaryFolder();
  await writeRandomCheckpoint(folder, { seed });
  return folder;
}
