import type { Target } from '../../src/datasets/example.ts';
import type { RawImage } from '../../src/image/types.ts';
import { layOut, type SceneLayout, type SceneOptions } from './layout.ts';
import { paint } from './paint.ts';
import { targetsOf } from './targets.ts';

/** A drawn scene with everything that can be asked about it, and the true answers. */
export interface Scene extends SceneLayout {
  image: RawImage; // 128 × 128
  /** Of every task that the scene can show; those about one object or region once for each. */
  targets: Target[];
}

/**
 * Draws a synthetic scene: one to three coloured shapes on a plain or textured background, and in a third of the
 * scenes a sign with a printed word. Seed and index alone decide everything.
 */
export function drawScene(seed: number, index: number, options: SceneOptions = {}): Scene {
  const layout = layOut(seed, index, options);
  return { ...layout, image: paint(layout, seed, index), targets: targetsOf(layout) };
}
