/**
 * Returns a generator of random 32-bit integers, 0 to 2³² − 1. The sequence depends only on the seed and the names:
 * `randomIntegers(seed, 'shuffle', epoch)` returns the same sequence in every process. A run that is resumed therefore
 * needs only its counters and no generator state.
 */
export function randomIntegers(seed: number, ...names: (string | number)[]): () => number {
  // sfc32 (Doty-Humphrey, PractRand), seeded by FNV-1a.
  let hash = 0x811c9dc5;
  for (const character of [seed, ...names].join(' ')) {
    hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193);
  }
  let [a, b, c, counter] = [hash, hash ^ 0x9e3779b9, seed | 0, 1];
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 16; i++) next(); // mixes the seed into the whole state
  return next;
}

/** Returns a generator of uniform random numbers in [0, 1). Seed and names as for `randomIntegers`. */
export function randomStream(seed: number, ...names: (string | number)[]): () => number {
  const next = randomIntegers(seed, ...names);
  return () => next() / 2 ** 32;
}

/** Returns a generator of normal random numbers with mean 0 and standard deviation 1 (Box and Muller 1958). */
export function normalStream(seed: number, ...names: (string | number)[]): () => number {
  const next = randomIntegers(seed, ...names);
  const unit = (): number => (next() + 0.5) / 2 ** 32;
  return () => Math.sqrt(-2 * Math.log(unit())) * Math.cos(2 * Math.PI * unit());
}

/** Shuffles a list in place (Fisher and Yates) and returns it. */
export function shuffle<T>(list: T[], random: () => number): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}
