import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RandomCheckpointOptions, writeRandomCheckpoint } from '../tools/random_checkpoint.ts';

/** The photograph that the benchmarks use. */
export const picture = new URL('../docs/pictures/street.jpg', import.meta.url);

/** Calls `body` with a temporary folder that contains a checkpoint with random weights (seed 1), then removes it. */
export async function withRandomCheckpoint(
  options: Partial<RandomCheckpointOptions>,
  body: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'florence2-bench-'));
  try {
    await writeRandomCheckpoint(folder, { seed: 1, ...options });
    await body(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
