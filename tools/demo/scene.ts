import type { Target } from '../../src/datasets/example.ts';
import type { RawImage } from '../../src/image/types.ts';
import { randomStream } from '../../src/random.ts';
import { layOut, type SceneLayout, type SceneOptions } from './layout.ts';
import { paint } from './paint.ts';
import { targetsOf } from './targets.ts';
import { wideTargets } from './wide_targets.ts';

/** A drawn scene and its targets: all questions about it, with the true answers. */
export interface Scene extends SceneLayout {
  image: RawImage; // 128 × 128
  /** One for each task, or for each object or region if the task is about one. */
  targets: Target[];
}

/**
 * Draws a synthetic scene: one to three coloured shapes (`wide`: one to four) on a background, and in a third of the
 * scenes a sign with a printed word. Equal arguments return equal scenes.
 */
export function drawScene(seed: number, index: number, options: SceneOptions = {}): Scene {
  const layout = layOut(seed, index, options);
  const targets =
    options.suite === 'wide' ? wideTargets(layout, randomStream(seed, 'wide targets', index)) : targetsOf(layout);
  return { ...layout, image: paint(layout, seed, index), targets };
}
