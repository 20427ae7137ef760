import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

/** Runs a program in which functions of node:fs/promises are replaced, also where modules import them by name. */
export async function withFs<T>(replaced: Partial<typeof fs>, program: () => Promise<T>): Promise<T> {
  const real = { ...fs };
  Object.assign(fs, replaced);
  syncBuiltinESMExports();
  try {
    return await program();
  } finally {
    Object.assign(fs, real);
    syncBuiltinESMExports();
  }
}
