/** Consecutive colours differ in hue and lightness, and all contrast with photographs. */
// biome-ignore format: one row
const PALETTE = [
  '#ff3b5c', '#00a8ff', '#2ed573', '#ffb300', '#a55eea', '#00d2d3', '#ff7a1a', '#3d5afe',
  '#c6e03b', '#ff5fc4', '#00b894', '#b5651d', '#7bed9f', '#e84118', '#70a1ff', '#ffe14d',
];

/** A colour in OKLab, where distances follow perceived differences: lightness 0 to 1, and two axes of hue. */
export type Lab = readonly [lightness: number, a: number, b: number];

/** Smallest distance in OKLab at which a line is clearly visible on a background. */
const CLEAR = 0.2;

/**
 * Returns a function that assigns a colour to each label. Each call with an empty label returns another colour. The next
 * unused colour of the palette is chosen that differs from what is under the object, or the one that differs most.
 */
export function labelColors(): (label: string, underneath?: () => readonly Lab[]) => string {
  const colors = new Map<string, string>(); // by label
  const uses = new Map(PALETTE.map(color => [color, 0]));
  return (label, underneath = () => []) => {
    const key = label === '' ? `\0${colors.size}` : label;
    const known = colors.get(key);
    if (known !== undefined) return known;
    const fewest = Math.min(...uses.values());
    const unused = PALETTE.filter(color => uses.get(color) === fewest);
    const below = underneath();
    const contrasts = unused.map(color => contrast(color, below));
    const clear = contrasts.findIndex(value => value >= CLEAR);
    const color = unused[clear >= 0 ? clear : contrasts.indexOf(Math.max(...contrasts))]!;
    colors.set(key, color);
    uses.set(color, fewest + 1);
    return color;
  };
}

/** Returns the distance that a quarter of the colours underneath fall below. */
function contrast(color: string, underneath: readonly Lab[]): number {
  if (underneath.length === 0) return Infinity;
  const own = toLab(channelsOf(color));
  const distances = underneath.map(other => Math.hypot(own[0] - other[0], own[1] - other[1], own[2] - other[2]));
  return distances.sort((a, b) => a - b)[Math.floor(distances.length / 4)]!;
}

/** Returns the channels of `#rrggbb`, 0 to 255. */
export const channelsOf = (hex: string): number[] => [1, 3, 5].map(i => Number.parseInt(hex.slice(i, i + 2), 16));

/** Returns sRGB channels, 0 to 255, as amounts of light, 0 to 1. */
const linear = (channels: readonly number[]): number[] =>
  channels.map(value => (value <= 10.31475 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));

/** Converts sRGB channels, 0 to 255, to OKLab. Ottosson 2020, https://bottosson.github.io/posts/oklab. */
export function toLab(channels: readonly number[]): Lab {
  const [r, g, b] = linear(channels) as [number, number, number];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

/** Returns black or white for a text on this background, by its relative luminance (WCAG 2). */
export function textColor(background: string): string {
  const [r, g, b] = linear(channelsOf(background)) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.3 ? '#101114' : '#ffffff';
}
