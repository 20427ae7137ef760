import type { BoxCoordinates } from '../../src/geometry/types.ts';
import { randomStream } from '../../src/random.ts';
import { printedWords } from './printed_words.ts';
import type { SceneShape } from './shapes.ts';
import {
  BACKGROUNDS,
  COLORS,
  type ColorName,
  PRINTED_WORDS,
  type Rgb,
  SIZES,
  type SizeName,
  TONES,
  type ToneName,
  TRAINED_SHAPES,
} from './vocabulary.ts';

/** Width and height of a scene in pixels. */
export const SCENE_SIDE = 128;

export interface SceneObject {
  color: ColorName;
  shape: SceneShape;
  size: SizeName;
  box: BoxCoordinates;
  /** The exact shade of its colour. */
  rgb: Rgb;
}

/** A plate with a printed word. Edges lie between pixels. */
export interface Sign {
  word: string;
  /** Box of the plate. */
  box: BoxCoordinates;
  /** Box of the word's ink. */
  textBox: BoxCoordinates;
  plate: 'white' | 'black';
}

export interface Background {
  kind: (typeof BACKGROUNDS)[number];
  tone: ToneName;
  colors: [Rgb, Rgb];
  /** Direction of gradients and stripes, in radians. */
  angle: number;
  /** Period of the stripes in pixels. */
  period: number;
}

/** The contents of a scene. */
export interface SceneLayout {
  /** Sorted from left to right by their centres. No two have the same colour and shape. */
  objects: SceneObject[];
  sign: Sign | null;
  background: Background;
}

export interface SceneOptions {
  /** Number of objects. Default: random, one to three, or one to two next to a sign. */
  objects?: number;
  /** Default: the shapes that the demo checkpoint learns. */
  shapes?: readonly SceneShape[];
  /** Scale of the objects. Default 1. */
  scale?: number;
  /** Share of scenes with a sign. Default 1/3. */
  signs?: number;
}

const border = 3; // least distance in pixels from the image's edges
const gap = 3; // least distance between two things
const apart = 10; // least x distance between the centres of two objects, so that their order is clear

/** Returns the random contents of a scene. Equal arguments return equal scenes. */
export function layOut(seed: number, index: number, options: SceneOptions = {}): SceneLayout {
  const random = new Draws(randomStream(seed, 'scene', index));
  const background = chooseBackground(random);
  const { scale = 1, signs = 1 / 3 } = options;
  const hasSign = random.unit() < signs;
  const count = options.objects ?? random.integer(1, hasSign ? 2 : 3);
  const shapes = options.shapes ?? TRAINED_SHAPES;
  for (let attempt = 0; attempt < 1000; attempt++) {
    const sign = hasSign ? placeSign(random) : null;
    const objects = placeObjects(count, shapes, scale, sign, random);
    if (objects) return { objects, sign, background };
  }
  throw new RangeError(`${count} objects do not fit into a scene.`);
}

/** Draws from a stream of random numbers. */
class Draws {
  constructor(readonly unit: () => number) {}

  between([low, high]: readonly [number, number]): number {
    return low + (high - low) * this.unit();
  }

  /** Returns an integer from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return Math.floor(this.between([low, high + 1]));
  }

  of<T>(list: readonly T[]): T {
    return list[this.integer(0, list.length - 1)];
  }
}

const keys = <K extends string>(record: Record<K, unknown>): K[] => Object.keys(record) as K[];

function chooseBackground(random: Draws): Background {
  const tone = random.of(keys(TONES));
  const level = random.between(TONES[tone]);
  const muted = (from: number) => [0, 0, 0].map(() => from + random.between([-12, 12])) as unknown as Rgb;
  const second = level + (random.unit() < 0.5 ? -1 : 1) * random.between([18, 30]);
  return {
    kind: random.of(BACKGROUNDS),
    tone,
    colors: [muted(level), muted(second)],
    angle: random.between([0, Math.PI]),
    period: random.between([8, 24]),
  };
}

function placeSign(random: Draws): Sign {
  const word = random.of(PRINTED_WORDS);
  const { width, height } = printedWords.get(word)!;
  const [across, along] = [random.integer(4, 6), random.integer(5, 9)]; // pixels from the ink to the plate's edges
  const left = random.integer(border, SCENE_SIDE - border - width - 2 * along);
  const top = random.integer(border, SCENE_SIDE - border - height - 2 * across);
  return {
    word,
    box: [left, top, left + width + 2 * along, top + height + 2 * across],
    textBox: [left + along, top + across, left + along + width, top + across + height],
    plate: random.unit() < 0.5 ? 'white' : 'black',
  };
}

/** Returns undefined if an object found no free place. */
function placeObjects(
  count: number,
  shapes: readonly SceneShape[],
  scale: number,
  sign: Sign | null,
  random: Draws,
): SceneObject[] | undefined {
  const objects: SceneObject[] = [];
  while (objects.length < count) {
    const [color, shape] = [random.of(keys(COLORS)), random.of(shapes)];
    if (objects.some(other => other.color === color && other.shape === shape)) continue;
    const size = random.of(keys(SIZES));
    const taken = [...objects.map(({ box }) => box), ...(sign ? [sign.box] : [])];
    const box = placeBox(scale * random.between(SIZES[size]), taken, objects, random);
    if (!box) return undefined;
    const rgb = COLORS[color].map(level => level + random.between([-10, 10])) as unknown as Rgb;
    objects.push({ color, shape, size, box, rgb });
  }
  return objects.sort((a, b) => middle(a.box) - middle(b.box));
}

function placeBox(
  side: number,
  taken: BoxCoordinates[],
  objects: SceneObject[],
  random: Draws,
): BoxCoordinates | undefined {
  for (let attempt = 0; attempt < 30; attempt++) {
    const left = random.between([border, SCENE_SIDE - border - side]);
    const top = random.between([border, SCENE_SIDE - border - side]);
    const box: BoxCoordinates = [left, top, left + side, top + side];
    const free = taken.every(
      other => box[0] > other[2] + gap || box[2] + gap < other[0] || box[1] > other[3] + gap || box[3] + gap < other[1],
    );
    if (free && objects.every(other => Math.abs(middle(other.box) - middle(box)) >= apart)) return box;
  }
  return undefined;
}

const middle = ([left, , right]: BoxCoordinates): number => (left + right) / 2;
