/** Returns a difference with two digits: `1.2e-5`, `0`, or `∞` for values that are not finite. */
export const brief = (value: number): string =>
  value === 0 ? '0' : Number.isFinite(value) ? value.toExponential(1) : '∞';

/** A replacer for `JSON.stringify` that writes NaN and infinities as text. JSON would turn them into null. */
export function finiteNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
