import type { Target, TrainingExample } from '../../datasets/example.ts';
import { UsageError } from '../../errors.ts';
import type { BoxCoordinates } from '../../geometry/types.ts';
import type { RawImage } from '../../image/types.ts';
import { checkOptions, type Kind, type OptionTable, share } from '../../options.ts';
import { type Move, moveTarget } from './move.ts';
import { adjustColours, cropImage, flipImage, shrinkImage } from './pixels.ts';
import { hasLocationTokens, staysTrue, typedTarget } from './rules.ts';

/** Random changes of an image and its targets. All are off by default. */
export interface AugmentOptions {
  /** Probability of a horizontal flip, 0 to 1. Default 0. */
  flip?: number;
  /** Smallest share of the width and of the height that a crop keeps, above 0 to 1. Default 1: no crop. */
  crop?: number;
  /**
   * Smallest factor by which the image is shrunk onto a plain canvas of the same size, above 0 to 1. Default 1: none.
   */
  scale?: number;
  /** Range x of the brightness factor, which is drawn from 1 − x to 1 + x; 0 to 1. Default 0. */
  brightness?: number;
  /** Range of the contrast factor, which scales the distance of each level from the image's mean grey. Default 0. */
  contrast?: number;
  /** Range of the saturation factor, which scales the distance of each pixel from its grey. Default 0. */
  saturation?: number;
  /** Smallest share of an object's area that must remain after a crop to keep the object, 0 to 1. Default 0.5. */
  minVisible?: number;
}

/** An example whose image has been decoded. */
export interface DecodedExample extends TrainingExample {
  image: RawImage;
}

/**
 * Returns a randomly changed copy of an example: flipped, cropped, its colours adjusted, and shrunk, in this order.
 * Boxes, polygons, quads and the regions of prompts are moved accordingly. Equal random numbers give equal results.
 *
 * A change is applied only if every target of the image stays true:
 *
 * - No flip if a target is about printed text (it would be mirrored), has a custom prompt, or contains words that begin
 *   with "left" or "right". Other words that depend on the side, such as "facing east", are not detected: do not flip
 *   such data.
 * - No crop if a target describes the whole image in words (captions, OCR, custom prompts).
 * - A crop clips objects at its border. It drops objects of which less than `minVisible` remains, lines of text that do
 *   not remain whole, and targets whose region, or all of whose requested objects, are dropped. If no target remains,
 *   the image is not cropped.
 * - Colours are always changed: keep `saturation` low if answers name colours.
 *
 * Answers that are texts with location tokens are parsed and moved, and become typed answers.
 *
 * @param random returns numbers from 0 to 1; it is called exactly eleven times, whatever the options
 * @throws UsageError for options out of range, and for a flip, crop or scale of a custom prompt that has location
 *   tokens in prompt or answer, since their meaning is unknown
 */
export function augment<E extends DecodedExample>(example: E, options: AugmentOptions, random: () => number): E {
  checkOptions('augment', options, KINDS);
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

/** @param share width and height of the window, and its position in the remaining space, each as a share from 0 to 1 */
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

/** Converts such shares of an image to [x, y, width, height] in whole pixels. */
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
    `The prompt ${JSON.stringify(target.task)} is a custom prompt with location tokens, which flip, crop and scale cannot move: change only colours.`,
  );
}

const above0: Kind = { expected: 'a number above 0, at most 1', allows: x => share.allows(x) && x !== 0 };

const KINDS: OptionTable<AugmentOptions> = {
  ...{ flip: share, crop: above0, scale: above0, minVisible: share },
  ...{ brightness: share, contrast: share, saturation: share },
};
