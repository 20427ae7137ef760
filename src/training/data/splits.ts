/** The parts of a dataset. The validation split may also be called `val` or `validation` in folders and files. */
export type Split = 'train' | 'valid' | 'test';

export const SPLITS: readonly Split[] = ['train', 'valid', 'test'];

/** The folders that may hold a split. */
export const splitFolders = (split: Split): readonly string[] =>
  split === 'valid' ? ['valid', 'val', 'validation'] : [split];
