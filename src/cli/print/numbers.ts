/** Returns a difference with two digits: `1.2e-5`, `0`, or `∞` for values that are not finite. */
export const brief = (value: number): string =>
  value === 0 ? '0' : Number.isFinite(value) ? value.toExponential(1) : '∞';

/** A replacer for `JSON.stringify` that writes NaN and infinities as text. JSON would turn them into null. */
export function finiteNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

/** A replacer for `JSON.stringify` that rounds the coordinates of results to 0.01 pixel. Scores are not rounded. */
export const roundedCoordinates = (key: string, value: unknown): unknown =>
  ['box', 'quad', 'polygons'].includes(key) ? rounded(value) : value;

const rounded = (value: unknown): unknown =>
  Array.isArray(value) ? value.map(rounded) : Math.round((value as number) * 100) / 100;
