import type { SceneShape } from './shapes.ts';

export type Rgb = readonly [red: number, green: number, blue: number];

export const COLORS = {
  red: [214, 40, 40],
  orange: [245, 140, 20],
  yellow: [245, 222, 50],
  green: [40, 160, 70],
  blue: [40, 90, 225],
  purple: [150, 50, 190],
} as const satisfies Record<string, Rgb>;

export type ColorName = keyof typeof COLORS;

/** The shapes that the demo checkpoint is trained on. SHAPES has one more, for fine-tuning. */
export const TRAINED_SHAPES: readonly SceneShape[] = ['circle', 'square', 'triangle', 'diamond', 'star'];

/** Ranges of an object's side in pixels, far enough apart that every object is clearly small or large. */
export const SIZES = { small: [28, 36], large: [46, 58] } as const;

export type SizeName = keyof typeof SIZES;

export const BACKGROUNDS = ['plain', 'shaded', 'striped', 'grainy'] as const;

/** The background of half of the scenes of the suite `wide`: blurred patches, with or without a horizon, and grain. */
export const PHOTOGRAPHIC = 'photographic';

/** Ranges of the grey level of a background's muted colours. */
export const TONES = { light: [170, 220], dark: [45, 90] } as const;

export type ToneName = keyof typeof TONES;

/** The words on signs. They begin with different letters, and every letter of the alphabet occurs. */
// biome-ignore format: a list of words
export const PRINTED_WORDS = [
  'BANK', 'CAFE', 'DOG', 'EXIT', 'FISH', 'GOLF', 'HOME', 'JAZZ', 'KEY', 'LAMP', 'MILK', 'NEWS', 'OPEN', 'PARK', 'QUIZ',
  'ROAD', 'STOP', 'TAXI', 'VASE', 'ZOO',
] as const;

/** Fonts of the printed words: `sans` is the font of labels, the others are in tools/demo/fonts. */
export const SIGN_FONTS = ['sans', 'slab', 'hand'] as const;

export type SignFont = (typeof SIGN_FONTS)[number];
