import type { Target, TrainingExample } from '../../datasets/example.ts';
import { UsageError } from '../../errors.ts';
import type { BoxCoordinates } from '../../geometry/types.ts';
import type { RawImage } from '../../image/types.ts';
import { type Move, moveTarget } from './move.ts';
import { adjustColours, cropImage, flipImage, shrinkImage } from './pixels.ts';
import { hasLocationTokens, staysTrue, typedTarget } from './rules.ts';

/** Random changes of an image and what is to be learnt about it. All are off by default. */
export interface AugmentOptions {
  /** How often the image is mirrored left to right, 0 to 1. Default 0. */
  flip?: number;
  /** The least part of width and of height that a crop leaves, 0 to 1. Default 1: no crop. */
  crop?: number;
  /** The least size at which the image is shown on a plain canvas of its own size, 0 to 1. Default 1: as it is. */
  scale?: number;
  /** Brightness is multiplied by a number from 1 − x to 1 + x. Default 0. */
  brightness?: number;
  /** The same for the distance of each level from the image's mean grey. Default 0. */
  contrast?: number;
  /** The same for the distance of each colour from its grey. Default 0. */
  saturation?: number;
  /** The least part of an object's area that a crop must leave for it to be kept, 0 to 1. Default 0.5. */
  minVisible?: number;
}

/** An example whose image has been decoded. */
export interface DecodedExample extends TrainingExample {
  image: RawImage;
}

/**
 * An example as it is learnt this time: mirrored, cropped, its colours changed, shrunk, in this order. Boxes, polygons,
 * quads and the regions of prompts move along. The example that is given is not changed, and the same random numbers
 * give the same result.
 *
 * A change is made only where it leaves every target of the image true:
 *
 * - No flip where a target is about printed text (it would be read backwards), where a prompt is one of your own, or
 *   where a prompt or an answer says left or right. (Other words that depend on the side, as "facing east", are not
 *   seen: leave the flip out for such data.)
 * - No crop where a target tells of the whole image in words (captions, OCR, prompts of your own).
 * - A crop clips what it cuts. Objects of which less than `minVisible` is left are dropped, as are lines of text that
 *   are not left whole; so are targets whose region, or all of whose objects that the prompt asks for, are gone.
 *   Where that leaves no target, the image is not cropped.
 * - Colours are changed whatever is said about them: keep saturation low where answers name colours.
 *
 * Answers that are texts with location tokens are parsed, moved and written anew as `formatAnswer` does.
 *
 * @param random gives numbers from 0 to 1; eleven are taken, whatever the options
 * @throws UsageError for options out of range, and for flips, crops and scales of prompts of your own that hold or are
 *   answered by location tokens: nobody knows what shapes they are
 */
export function augment<E extends DecodedExample>(example: E, options: AugmentOptions, random: () => number): E {
  checkOptions(options);
  const { flip = 0, crop = 1, scale = 1, brightness = 0, contrast = 0, saturation = 0, minVisible = 0.5 } = options;
  const r = Array.from({ length: 11 }, random);
  let current: Scene = { image: example.image, targets: example.targets };
  if (flip > 0 || crop < 1 || scale < 1) refuseLocationTokens(example);
  if (r[0] < flip && current.targets.every(target => staysTrue(target, 'flip'))) current = flipped(current);
  if (crop < 1 && current.targets.every(target => staysTrue(target, 'crop'))) {
    current = cropped(current, [crop + (1 - crop) * r[1], crop + (1 - crop) * r[2], r[3], r[4]], minVisible);
  }
  const factor = (range: number, at: number): number => 1 + range * (2 * r[at] - 1);
  const factors = {
    brightness: factor(brightness, 5),
    contrast: factor(contrast, 6),
    saturation: factor(saturation, 7),
  };
  current = { ...current, image: adjustColours(current.image, factors) };
  if (scale < 1) current = shrunk(current, [scale + (1 - scale) * r[8], r[9], r[10]]);
  const { width, height } = current.image;
  return { ...example, ...current, imageSize: { width, height } };
}

interface Scene {
  image: RawImage;
  targets: Target[];
}

function flipped({ image, targets }: Scene): Scene {
  return { image: flipImage(image), targets: moveTargets(targets, image, { x: [-1, image.width] }) };
}

/** `share`: of width and height, then where the window is within what is left, all 0 to 1. */
function cropped({ image, targets }: Scene, share: readonly number[], minVisible: number): Scene {
  const [x, y, width, height] = rectangle(image, share);
  const window: BoxCoordinates = [x, y, x + width, y + height];
  const left = moveTargets(targets, image, { x: [1, -x], y: [1, -y], window, minVisible });
  return left.length > 0 ? { image: cropImage(image, x, y, width, height), targets: left } : { image, targets };
}

function shrunk({ image, targets }: Scene, [size, ...where]: readonly number[]): Scene {
  const [x, y, width, height] = rectangle(image, [size, size, ...where]);
  const move: Partial<Move> = { x: [width / image.width, x], y: [height / image.height, y] };
  return { image: shrinkImage(image, x, y, width, height), targets: moveTargets(targets, image, move) };
}

/** A rectangle of a share of width and height in whole pixels. */
function rectangle({ width, height }: RawImage, [wide, high, right, down]: readonly number[]): number[] {
  const [w, h] = [Math.max(1, Math.round(width * wide)), Math.max(1, Math.round(height * high))];
  return [Math.floor(right * (width - w + 1)), Math.floor(down * (height - h + 1)), w, h];
}

function moveTargets(targets: readonly Target[], { width, height }: RawImage, changes: Partial<Move>): Target[] {
  const image: BoxCoordinates = [0, 0, width, height];
  const move: Move = { x: [1, 0], y: [1, 0], image, window: image, minVisible: 0, ...changes };
  return targets
    .map(target => moveTarget(typedTarget(target, { width, height }), move))
    .filter(target => target !== undefined);
}

function refuseLocationTokens({ targets }: DecodedExample): void {
  const target = targets.find(hasLocationTokens);
  if (!target) return;
  throw new UsageError(
    `The prompt ${JSON.stringify(target.task)} is one of your own and has location tokens, which a flip, crop or scale cannot move. Change colours alone.`,
  );
}

function checkOptions(options: AugmentOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || (value >= 0 && value <= 1)) continue;
    throw new UsageError(`The augmentation ${name} is ${value}, expected a number from 0 to 1.`);
  }
  for (const name of ['crop', 'scale'] as const) {
    if (options[name] === 0)
      throw new UsageError(`The augmentation ${name} is 0, which would leave nothing of an image.`);
  }
}
