/** A difference with two digits: `1.2e-5`, `0`, or `∞` for anything that is not finite. */
export const brief = (value: number): string =>
  value === 0 ? '0' : Number.isFinite(value) ? value.toExponential(1) : '∞';

/** A replacer for `JSON.stringify`: writes NaN and infinities as text, because JSON would turn them into null. */
export function finiteNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
