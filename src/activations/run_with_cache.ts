import { UsageError } from '../errors.ts';
import { Capture } from '../hooks/capture.ts';
import type { HookFilter, StepFilter } from '../hooks/filter.ts';
import type { ScopedHook } from '../hooks/hooks.ts';
import { isNode } from '../platform/node.ts';
import { ActivationCache } from './cache.ts';

/** Which activations of a run are kept, and where. */
export interface CaptureOptions {
  /** Hook points to keep. Default: all points of the run, which takes the memory of all activations together. */
  names?: HookFilter;
  /**
   * Generation steps to keep; step 0 is the decoder's first call, which produces the first token. Activations outside
   * generation (vision tower, encoder) are kept regardless. Default: all steps.
   */
  steps?: StepFilter;
  /**
   * Path of a safetensors file that receives the activations during the run, so that at most one forward pass is held
   * in memory. The file appears, complete, when the run succeeds. The cache then holds names, steps and shapes, and
   * `array` reads values from the file.
   */
  file?: string;
}

/**
 * Runs `body` with a hook that keeps the activations at its points. The caller disposes the cache.
 *
 * @param body returns its result, and the metadata of the activations
 *
 * @throws UsageError for a name or pattern that matches no hook point of the run
 */
export async function runWithCache<T>(
  { names = '**', steps, file }: CaptureOptions,
  body: (hook: ScopedHook) => Promise<{ result: T; metadata: Record<string, string> }>,
): Promise<{ result: T; cache: ActivationCache }> {
  const stored = file === undefined ? null : await createFile(file);
  const cache = new ActivationCache();
  const capture = new Capture(names, stored ?? cache, { steps });
  try {
    const { result, metadata } = await body(capture.hook);
    capture.requireAll();
    Object.assign(cache.metadata, metadata);
    return { result, cache: stored ? await stored.finish(metadata) : cache };
  } catch (error) {
    cache.dispose();
    await stored?.abandon();
    throw error;
  }
}

async function createFile(file: string) {
  if (!isNode) throw new UsageError('`file` needs Node: browsers have no file system.');
  const { ActivationFile } = await import('./file.ts');
  return ActivationFile.create(file);
}
