import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Florence2Error } from '../../errors.ts';
import { writeError } from '../../files/errors.ts';
import { makeFolder } from '../../files/write.ts';
import type { AnnotatedImage } from '../annotation.ts';
import type { Split } from '../reading.ts';

/** An image to write, in the frame of the format, with the place of its file. */
export interface PlacedImage extends AnnotatedImage {
  size: NonNullable<AnnotatedImage['size']>;
  split: Split;
  /** Path of the file once the dataset is complete: in the new dataset, or where it was. */
  target: string;
}

/** Where a writer puts its files. */
export interface OutputFolder {
  /** The folder that is written. */
  folder: string;
  /** The path that it gets when it is complete: paths of images are relative to it. */
  final: string;
  /** Class names, in the order of their numbers. Names that occur later are added. */
  labels: string[];
}

/** Writes the images of a dataset one by one. */
export interface DatasetWriter {
  add(image: PlacedImage): Promise<void>;
  finish(): Promise<void>;
}

/** Characters that are collected before they are written. */
const BUFFERED = 1 << 16;

/** A text file that is written in parts, in a folder that is created if necessary. */
export class TextFile {
  private handle: FileHandle | undefined;
  private buffer = '';

  constructor(readonly path: string) {}

  async write(text: string): Promise<void> {
    this.buffer += text;
    if (this.buffer.length > BUFFERED) await this.flush();
  }

  async close(): Promise<void> {
    await this.flush();
    await this.handle?.close();
  }

  private async flush(): Promise<void> {
    try {
      if (!this.handle) {
        await makeFolder(dirname(this.path));
        this.handle = await open(this.path, 'w');
      }
      await this.handle.writeFile(this.buffer);
    } catch (error) {
      throw writeError(this.path, error);
    }
    this.buffer = '';
  }
}

/** Writes a text file at once. */
export async function writeText(path: string, text: string): Promise<void> {
  const file = new TextFile(path);
  await file.write(text);
  await file.close();
}

/** Rounds a coordinate to 1/1000 pixel. */
export const rounded = (value: number): number => Math.round(value * 1000) / 1000;

/** Returns the number of a label, adding it to the list if it is new. */
export function labelNumber(labels: string[], numbers: Map<string, number>, label: string): number {
  for (let i = numbers.size; i < labels.length; i++) numbers.set(labels[i], i);
  const known = numbers.get(label);
  if (known !== undefined) return known;
  labels.push(label);
  numbers.set(label, labels.length - 1);
  return labels.length - 1;
}

/** Returns a path without its extension. */
export const withoutExtension = (path: string): string => path.replace(/\.[^./]*$/, '');

/** Escapes a text for XML. @throws Florence2Error for control characters, which XML cannot contain */
export function xml(text: string): string {
  if (/[\x00-\x08\x0b\x0c\x0e-\x1f]/.test(text)) {
    throw new Florence2Error(`${JSON.stringify(text)} has control characters, which XML cannot contain.`);
  }
  const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, character => escapes[character]);
}
