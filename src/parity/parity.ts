import type { HookRegistry } from '../hooks/hooks.ts';
import type { BackendName } from '../runtime/backend.ts';
import type { CheckpointReport, ParityReport } from './report.ts';

export type * from './report.ts';

export interface ParityOptions {
  /** Default `auto`. */
  backend?: BackendName | 'auto';
  /** Train as well, in every way that the folder has recorded. Default false. */
  training?: boolean;
  /** Hooks that run along: what they put in an activation's place is what is compared. */
  hooks?: HookRegistry;
  /** Called after each checkpoint. */
  onCheckpoint?: (report: CheckpointReport) => void;
}

/**
 * Compares the network with PyTorch: every activation, logits and losses, caches and generated sequences of a reference
 * folder (manifest.json names what it holds), for each checkpoint in it; and when asked to, training: losses, gradients,
 * parameters after some steps, adapters.
 *
 * @param path a reference folder, or a folder of such folders
 * @throws Florence2Error where a folder, a file or a checkpoint cannot be read. Differences are no errors: see `equal`
 */
export async function checkParity(path: string, options: ParityOptions = {}): Promise<ParityReport> {
  const { checkFolders } = await import('./check.ts'); // it reads files, and browsers have none
  return checkFolders(path, options);
}
