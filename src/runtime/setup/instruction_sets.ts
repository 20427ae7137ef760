import { existsSync, readFileSync } from 'node:fs';

/** What our kernels are compiled for: each set is an addon of its own, and the machine that loads it chooses. */
export type InstructionSet = 'avx512' | 'avx2' | 'base';

/** Compiler flags of each set that this architecture has. The base of arm64 has vectors and halves. */
export function instructionSets(): Map<InstructionSet, string[]> {
  const sets = new Map<InstructionSet, string[]>([['base', []]]);
  if (process.arch !== 'x64') return sets;
  return sets.set('avx2', ['-mavx2', '-mfma', '-mf16c']).set('avx512', ['-mavx512f', '-mfma', '-mf16c']);
}

/** The best set that this machine's processor has, as far as it tells. */
export function instructionSet(): InstructionSet {
  const file = '/proc/cpuinfo';
  const flags = existsSync(file) ? /^flags\s*:(.*)$/m.exec(readFileSync(file, 'utf8'))?.[1].split(' ') : undefined;
  const has = (...names: string[]) => process.arch === 'x64' && names.every(name => flags?.includes(name));
  if (has('avx512f', 'fma', 'f16c')) return 'avx512';
  return has('avx2', 'fma', 'f16c') ? 'avx2' : 'base';
}
