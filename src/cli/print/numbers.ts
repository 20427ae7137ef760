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

/** Formats a time in its two largest units: `1 h 12 min`, `3 min 20 s`, `8 s`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
