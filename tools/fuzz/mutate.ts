import { randomStream } from '../../src/random.ts';

/** Values that are legal in JSON and hostile to those who expect others. */
const HOSTILE: readonly string[] = [
  ...[
    'null',
    'true',
    '0',
    '-1',
    '1e9',
    '1e308',
    '1e999',
    '-0.5',
    '9007199254740993',
    '""',
    '[]',
    '{}',
    '[[]]',
    '"\\u0000"',
  ],
  ...['"__proto__"', '{"__proto__":{"x":1}}', '"../../etc/passwd"', '"\\ud800"', '"((a|a)+)+$"', '"/dev/zero"'],
  ...['[1e400,null]', `"${'x'.repeat(100_000)}"`, `${'['.repeat(20_000)}${']'.repeat(20_000)}`],
  `{"a":${'{"a":'.repeat(5000)}1${'}'.repeat(5001)}`,
];

/** Numbers at the limits of what bytes hold. */
const BYTES: readonly number[] = [0, 1, 0x7f, 0x80, 0xff];

/** Returns a changed copy of a file. The same seed and names give the same copy. */
export function mutate(bytes: Uint8Array, isText: boolean, seed: number, ...names: (string | number)[]): Uint8Array {
  const random = randomStream(seed, 'mutate', ...names);
  const below = (n: number): number => Math.floor(random() * n);
  let changed = Buffer.from(bytes);
  for (let rounds = 1 + below(4); rounds > 0; rounds--) {
    changed =
      isText && random() < 0.8 ? Buffer.from(replaceValue(changed.toString(), below)) : changeBytes(changed, below);
  }
  return changed;
}

/** Replaces, repeats or removes one value or key of a JSON or YAML text. */
function replaceValue(text: string, below: (n: number) => number): string {
  const tokens = [...text.matchAll(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[[\]{}:,\n]/g)];
  if (tokens.length === 0) return text;
  const { 0: token, index } = tokens[below(tokens.length)];
  const other = tokens[below(tokens.length)][0];
  const value = [HOSTILE[below(HOSTILE.length)], other, '', `${token},${token}`, `${token}${token}`][below(5)];
  return text.slice(0, index) + value + text.slice(index + token.length);
}

/** Overwrites, inserts, repeats or cuts bytes. */
function changeBytes(bytes: Buffer, below: (n: number) => number): Buffer<ArrayBuffer> {
  const at = below(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + below(16));
  const [before, part, after] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)];
  switch (below(5)) {
    case 0:
      return Buffer.from(before);
    case 1:
      return Buffer.concat([before, part, part, after]);
    case 2:
      return Buffer.concat([before, after]);
    case 3:
      return Buffer.concat([before, part.map(() => BYTES[below(BYTES.length)]), after]);
    default:
      return Buffer.concat([before, part.map(byte => byte ^ (1 << below(8))), after]);
  }
}
