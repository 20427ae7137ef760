import type { BoxCoordinates } from '../../src/geometry/types.ts';
import { randomStream } from '../../src/random.ts';
import { Draws } from './draws.ts';
import { printedWord } from './printed_words.ts';
import type { SceneShape } from './shapes.ts';
import {
  BACKGROUNDS,
  COLORS,
  type ColorName,
  PHOTOGRAPHIC,
  PRINTED_WORDS,
  type Rgb,
  SIGN_FONTS,
  SIZES,
  type SignFont,
  type SizeName,
  TONES,
  type ToneName,
  TRAINED_SHAPES,
} from './vocabulary.ts';

/**
 * Kinds of scenes. `plain`: objects that are all different and lie apart, and one font. `wide`: objects that overlap, touch
 * the border or occur twice, three fonts, capitals and small letters, and backgrounds like photographs; questions refer to
 * objects by size and place, and to objects that are not there.
 */
export const SUITES = ['plain', 'wide'] as const;

export type Suite = (typeof SUITES)[number];

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
  font: SignFont;
  /** Box of the plate. */
  box: BoxCoordinates;
  /** Box of the word's ink. */
  textBox: BoxCoordinates;
  plate: 'white' | 'black';
}

export interface Background {
  kind: (typeof BACKGROUNDS)[number] | typeof PHOTOGRAPHIC;
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
  /** Which scenes to draw. Default `plain`. */
  suite?: Suite;
  /** Number of objects. Default: random, one to three, or one to two next to a sign (`wide`: one more). */
  objects?: number;
  /** Default: the shapes that the demo checkpoint learns. */
  shapes?: readonly SceneShape[];
  /** Scale of the objects. Default 1. */
  scale?: number;
  /** Share of scenes with a sign. Default 1/3. */
  signs?: number;
}

/** Where things may lie in the scenes of a suite. */
interface Spacing {
  /** Least distance in pixels from the image's edges. */
  border: number;
  /** Least distance in pixels between two things, unless they are objects that may overlap. */
  gap: number;
  /** Largest part of the smaller of two objects' boxes that lies in the other; undefined: objects lie apart. */
  overlap?: number;
  /** Least x distance in pixels between the centres of two objects, so that their order is clear. */
  apart: number;
}

const spacings: Record<Suite, Spacing> = {
  plain: { border: 3, gap: 3, apart: 10 },
  wide: { border: 0, gap: 1, overlap: 0.35, apart: 8 },
};

/** Share of the objects in `wide` scenes that repeat the colour and shape of another. */
const repeated = 0.3;

/** Returns the random contents of a scene. Equal arguments return equal scenes. */
export function layOut(seed: number, index: number, options: SceneOptions = {}): SceneLayout {
  const { suite = 'plain', scale = 1, signs = 1 / 3, shapes = TRAINED_SHAPES } = options;
  const random = new Draws(randomStream(seed, suite === 'plain' ? 'scene' : `${suite} scene`, index));
  const background = chooseBackground(suite, random);
  const hasSign = random.unit() < signs;
  const most = (suite === 'plain' ? 3 : 4) - (hasSign ? 1 : 0);
  const count = options.objects ?? random.integer(1, most);
  for (let attempt = 0; attempt < 1000; attempt++) {
    const sign = hasSign ? placeSign(suite, random) : null;
    const objects = placeObjects(count, { suite, shapes, scale }, sign, random);
    if (objects) return { objects, sign, background };
  }
  throw new RangeError(`${count} objects do not fit into a scene.`);
}

const keys = <K extends string>(record: Record<K, unknown>): K[] => Object.keys(record) as K[];

function chooseBackground(suite: Suite, random: Draws): Background {
  const tone = random.of(keys(TONES));
  const level = random.between(TONES[tone]);
  const photographic = suite === 'wide' && random.unit() < 0.5;
  const tint = photographic ? 30 : 12;
  const muted = (from: number) => [0, 0, 0].map(() => from + random.between([-tint, tint])) as unknown as Rgb;
  const second = level + (random.unit() < 0.5 ? -1 : 1) * random.between([18, 30]);
  return {
    kind: photographic ? PHOTOGRAPHIC : random.of(BACKGROUNDS),
    tone,
    colors: [muted(level), muted(second)],
    angle: random.between([0, Math.PI]),
    period: random.between([8, 24]),
  };
}

function placeSign(suite: Suite, random: Draws): Sign {
  const { border } = spacings[suite];
  const capitals = random.of(PRINTED_WORDS);
  const font = suite === 'plain' ? 'sans' : random.of(SIGN_FONTS);
  const word = suite === 'plain' || random.unit() < 0.5 ? capitals : capitals.toLowerCase();
  const { width, height } = printedWord(word, font);
  const [across, along] = [random.integer(4, 6), random.integer(5, 9)]; // pixels from the ink to the plate's edges
  const left = random.integer(border, SCENE_SIDE - border - width - 2 * along);
  const top = random.integer(border, SCENE_SIDE - border - height - 2 * across);
  return {
    word,
    font,
    box: [left, top, left + width + 2 * along, top + height + 2 * across],
    textBox: [left + along, top + across, left + along + width, top + across + height],
    plate: random.unit() < 0.5 ? 'white' : 'black',
  };
}

/** Returns undefined if an object found no free place. */
function placeObjects(
  count: number,
  { suite, shapes, scale }: Required<Pick<SceneOptions, 'suite' | 'shapes' | 'scale'>>,
  sign: Sign | null,
  random: Draws,
): SceneObject[] | undefined {
  const objects: SceneObject[] = [];
  while (objects.length < count) {
    const repeats = suite === 'wide' && objects.length > 0 && random.unit() < repeated;
    const { color, shape } = repeats
      ? random.of(objects)
      : { color: random.of(keys(COLORS)), shape: random.of(shapes) };
    if (!repeats && objects.some(other => other.color === color && other.shape === shape)) continue;
    const size = random.of(keys(SIZES));
    const box = placeBox(scale * random.between(SIZES[size]), spacings[suite], objects, sign, random);
    if (!box) return undefined;
    const rgb = COLORS[color].map(level => level + random.between([-10, 10])) as unknown as Rgb;
    objects.push({ color, shape, size, box, rgb });
  }
  return objects.sort((a, b) => middle(a.box) - middle(b.box));
}

function placeBox(
  side: number,
  { border, gap, overlap, apart }: Spacing,
  objects: SceneObject[],
  sign: Sign | null,
  random: Draws,
): BoxCoordinates | undefined {
  const mayLieAt = (box: BoxCoordinates) => (other: SceneObject) =>
    Math.abs(middle(other.box) - middle(box)) >= apart &&
    (overlap === undefined ? apartBy(gap, box, other.box) : sharedPart(box, other.box) <= overlap);
  for (let attempt = 0; attempt < 30; attempt++) {
    const left = random.between([border, SCENE_SIDE - border - side]);
    const top = random.between([border, SCENE_SIDE - border - side]);
    const box: BoxCoordinates = [left, top, left + side, top + side];
    if ((!sign || apartBy(gap, box, sign.box)) && objects.every(mayLieAt(box))) return box;
  }
  return undefined;
}

const apartBy = (gap: number, a: BoxCoordinates, b: BoxCoordinates): boolean =>
  a[0] > b[2] + gap || a[2] + gap < b[0] || a[1] > b[3] + gap || a[3] + gap < b[1];

/** Returns the part of the smaller of two squares that lies in the other. */
function sharedPart(a: BoxCoordinates, b: BoxCoordinates): number {
  const shared = (axis: 0 | 1) => Math.max(0, Math.min(a[axis + 2], b[axis + 2]) - Math.max(a[axis], b[axis]));
  return (shared(0) * shared(1)) / Math.min(a[2] - a[0], b[2] - b[0]) ** 2;
}

const middle = ([left, , right]: BoxCoordinates): number => (left + right) / 2;
