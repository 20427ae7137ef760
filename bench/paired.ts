import { median } from './report.ts';

/**
 * Median milliseconds of several ways to do something, measured in turns, so that what else the machine does falls on all
 * of them alike; and for each way the median over the rounds of its time over that of the first way in the same round.
 * One round before is not counted. The order turns from round to round.
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
