/** Round numbers from `low` to `high`, both at most a step away from the ends: steps of 1, 2 or 5 times a power of ten. */
export function linearTicks(low: number, high: number, about: number): number[] {
  const step = roundStep((high - low) / about);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** 1, 2 and 5 times the powers of ten between `low` and `high`; the powers alone where there would be more than `most`. */
export function logTicks(low: number, high: number, most: number): number[] {
  const powers = linearTicks(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)), 1000).filter(Number.isInteger);
  const within = (ticks: number[]) => ticks.filter(tick => tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9));
  const all = within(powers.flatMap(power => [1, 2, 5].map(digit => Number(`${digit}e${power}`))));
  return all.length <= most ? all : within(powers.map(power => Number(`1e${power}`)));
}

/** The least of 1, 2, 5, 10, 20, … that is not below `least`. */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map(digit => digit * power).find(step => step >= least * (1 - 1e-9))!;
}

/** A number in few characters: `0.25`, `1.5k`, `2e-4`. */
export function brief(value: number): string {
  const size = Math.abs(value);
  if (size >= 1000) return `${Number((value / 1000).toPrecision(4))}k`;
  if (size > 0 && size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, 'e');
  return String(Number(value.toPrecision(3)));
}
