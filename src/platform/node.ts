import { DiskFolder } from '../files/disk_folder.ts';
import type { Folder } from '../files/folder.ts';

/** Returns the files of a directory, which need not exist yet. */
export const openFolder = (path: string): Folder => new DiskFolder(path);
