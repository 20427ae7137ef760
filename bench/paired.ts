import { median } from './report.ts';

/**
 * Times several variants in turns, so that other load on the machine affects all of them alike. Returns for each its
 * median time in milliseconds, and the median ratio of its time to that of the first variant in the same round. One
 * warm-up round is not counted. The order rotates from round to round.
 */
export async function paired<Way extends string>(
  ways: Record<Way, () => Promise<unknown>>,
  rounds: number,
): Promise<Record<Way, { ms: number; ratio: number }>> {
  const names = Object.keys(ways) as Way[];
  const times = new Map<Way, number[]>(names.map(name => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length];
      const start = performance.now();
      await ways[name]();
      if (round > 0) times.get(name)!.push(performance.now() - start);
    }
  }
  const first = times.get(names[0])!;
  const entries = names.map(name => {
    const own = times.get(name)!;
    return [name, { ms: median(own), ratio: median(own.map((ms, round) => ms / first[round])) }];
  });
  return Object.fromEntries(entries);
}
