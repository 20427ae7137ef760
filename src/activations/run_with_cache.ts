import type { Florence2, Request, RunOptions } from '../florence2.ts';
import { Capture } from '../hooks/capture.ts';
import type { HookFilter, StepFilter } from '../hooks/filter.ts';
import type { TaskResult } from '../results/types.ts';
import type { TaskArguments } from '../text/prompt.ts';
import { ActivationCache } from './cache.ts';

export interface CacheOptions extends RunOptions, TaskArguments {
  /** Points to keep. Default: all that the run passes, which takes the memory of them all. */
  names?: HookFilter;
  /**
   * Steps of the generation to keep; step 0 is the decoder's first call, which makes the first token. What lies outside
   * of the generation (vision tower, encoder) is kept in any case. Default: all.
   */
  steps?: StepFilter;
  /**
   * Move what is captured to this safetensors file as it goes, so that no more than one forward pass is held in memory.
   * The file is there when the run has ended well, whole, and not otherwise. The cache then knows names, steps and
   * shapes, and `array` reads from the file.
   */
  file?: string;
}

/** See `Florence2.runWithCache`. */
export async function runWithCache(
  model: Florence2,
  image: Request['image'],
  task: string,
  { names = '**', steps, file, ...options }: CacheOptions,
): Promise<{ result: TaskResult; cache: ActivationCache }> {
  const stored = file === undefined ? null : await createFile(file);
  const cache = new ActivationCache();
  const capture = new Capture(model.hooks, names, stored ?? cache, { steps });
  try {
    const result = await model.run(image, task, options);
    capture.requireAll();
    return { result, cache: stored ? await stored.finish() : cache };
  } catch (error) {
    cache.dispose();
    await stored?.abandon();
    throw error;
  } finally {
    capture.stop();
  }
}

async function createFile(file: string) {
  const { ActivationFile } = await import('./file.ts'); // it writes files, and browsers have none
  return ActivationFile.create(file);
}
