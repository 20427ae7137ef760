import { join } from 'node:path';
import { semanticNpy, semanticPng } from '../../drawing/semantic_files.ts';
import { draw, encodeMask } from '../../drawing/sharp.ts';
import { writeWhole } from '../../files/write.ts';
import { polygonsToMask } from '../../geometry/masks.ts';
import type { RawImage } from '../../image/types.ts';
import { semanticMap } from '../../results/semantic.ts';
import type { TaskResult } from '../../results/types.ts';
import type { InputImage } from '../inputs.ts';
import { printNote } from '../print/terminal.ts';
import type { NamedRequest } from './questions.ts';

/** An image and its results, one per question: in pixels of the stored image, and of `raw`, which drawings show. */
export interface Answered {
  input: InputImage;
  raw: RawImage;
  results: TaskResult[];
  drawn: TaskResult[];
  /** Paths of the drawings, one per question. */
  drawings: string[];
}

/** Draws the results of an image, and says where. */
export async function writeDrawings({ raw, drawn, drawings }: Answered): Promise<void> {
  for (const [i, path] of drawings.entries()) {
    await writeWhole(path, await draw(raw, drawn[i]));
    printNote(`Wrote ${path}`);
  }
}

/** Writes a mask for each outline of an image. */
export async function writeMasks(
  folder: string,
  { input, results }: Answered,
  questions: readonly NamedRequest[],
): Promise<void> {
  for (const [i, result] of results.entries()) {
    const instances = 'instances' in result ? result.instances : [];
    for (const [n, { polygons }] of instances.entries()) {
      const mask = await encodeMask(polygonsToMask(polygons, result.imageSize));
      await writeWhole(join(folder, `${input.output}.${questions[i].name}.${n + 1}.png`), mask);
    }
  }
}

/** Writes the map of classes of an image, whose names are the texts of the questions. */
export async function writeMap(
  folder: string,
  { input, results }: Answered,
  questions: readonly NamedRequest[],
): Promise<void> {
  const instances = results.flatMap(result => ('instances' in result ? result.instances : []));
  const map = semanticMap(instances, results[0].imageSize, classNames(questions));
  await writeWhole(join(folder, `${input.output}.png`), semanticPng(map));
  await writeWhole(join(folder, `${input.output}.npy`), semanticNpy(map));
}

/** Writes the names of all classes, in the order of their indices in the maps. */
export async function writeClasses(folder: string, questions: readonly NamedRequest[]): Promise<void> {
  const names = ['background', ...classNames(questions)];
  await writeWhole(join(folder, 'classes.json'), Buffer.from(`${JSON.stringify(names)}\n`));
}

const classNames = (questions: readonly NamedRequest[]): string[] => questions.map(({ text }) => String(text));
