import { writeRandomCheckpoint } from '../tools/random_checkpoint.ts';
import { temporaryFolder } from './weights/temporary.ts';

/** Writes a tiny checkpoint with random weights, whose answers end before the limit. Returns its folder. */
export async function tinyCheckpoint(seed = 0): Promise<string> {
  const folder = temporaryFolder();
  await writeRandomCheckpoint(folder, { seed });
  return folder;
}
