import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { polygonArea } from '../../geometry/clip.ts';
import { maskArea } from '../../geometry/masks.ts';
import { compressCounts, decodeRle } from '../../geometry/rle.ts';
import type { LabelledObject } from '../annotation.ts';
import { type DatasetWriter, labelNumber, type OutputFolder, type PlacedImage, rounded, TextFile } from './output.ts';

/** The files of a split. Annotations are collected beside the images, because a COCO file lists all images first. */
interface CocoFiles {
  objects: TextFile;
  annotations: TextFile;
  captions?: TextFile;
  images: number;
  objectCount: number;
  captionCount: number;
}

/** Writes `annotations/instances_<split>.json`, and `captions_<split>.json` if there are captions. */
export function cocoWriter({ folder, final, labels }: OutputFolder): DatasetWriter {
  const splits = new Map<string, CocoFiles>();
  const numbers = new Map<string, number>();
  const pathOf = (name: string): string => join(folder, 'annotations', name);
  return {
    async add(image) {
      const files = splits.get(image.split) ?? newFiles(image.split, pathOf);
      splits.set(image.split, files);
      const own = join(final, 'images', image.split);
      const isInside = image.target.startsWith(own);
      const file_name = relative(isInside ? own : join(final, 'annotations'), image.target).replaceAll('\\', '/');
      const entry = JSON.stringify({ id: ++files.images, file_name, ...image.size });
      await files.objects.write(`${files.images > 1 ? ',\n' : '{"images": [\n'}${entry}`);
      for (const object of image.objects) {
        const category_id = labelNumber(labels, numbers, object.label) + 1;
        const annotation = { id: ++files.objectCount, image_id: files.images, category_id, ...fieldsOf(object) };
        await files.annotations.write(`${files.objectCount > 1 ? ',\n' : ''}${JSON.stringify(annotation)}`);
      }
      for (const caption of image.captions) {
        files.captions ??= new TextFile(pathOf(`captions_${image.split}.json.part`));
        const annotation = { id: ++files.captionCount, image_id: files.images, caption };
        await files.captions.write(`${files.captionCount > 1 ? ',\n' : ''}${JSON.stringify(annotation)}`);
      }
    },
    async finish() {
      const categories = `"categories": [\n${labels.map((name, i) => JSON.stringify({ id: i + 1, name })).join(',\n')}\n]}\n`;
      for (const [split, { objects, annotations, captions }] of splits) {
        await objects.close();
        await annotations.close();
        if (captions) {
          await captions.close();
          await joinFiles(pathOf(`captions_${split}.json`), [
            objects.path,
            '\n],\n"annotations": [\n',
            captions.path,
            '\n]}\n',
          ]);
          await rm(captions.path);
        }
        const parts = [objects.path, '\n],\n"annotations": [\n', annotations.path, `\n],\n${categories}`];
        await joinFiles(pathOf(`instances_${split}.json`), parts);
        await rm(objects.path);
        await rm(annotations.path);
      }
    },
  };
}

const newFiles = (split: PlacedImage['split'], pathOf: (name: string) => string): CocoFiles => ({
  objects: new TextFile(pathOf(`images_${split}.json.part`)),
  annotations: new TextFile(pathOf(`instances_${split}.json.part`)),
  ...{ images: 0, objectCount: 0, captionCount: 0 },
});

/** Writes a file from texts and from the contents of files, which are named by their paths. */
async function joinFiles(path: string, parts: readonly string[]): Promise<void> {
  const file = new TextFile(path);
  for (const part of parts) {
    if (dirname(part) !== dirname(path)) await file.write(part);
    else for await (const chunk of createReadStream(part, 'utf8')) await file.write(chunk as string);
  }
  await file.close();
}

function fieldsOf({ box: [x1, y1, x2, y2], polygons, quad, mask, crowd, score, area }: LabelledObject): object {
  const outlines = polygons ?? (quad ? [quad] : undefined);
  const measured = mask
    ? maskArea(decodeRle(mask))
    : outlines
      ? outlines.reduce((sum, polygon) => sum + polygonArea(polygon), 0)
      : (x2 - x1) * (y2 - y1);
  return {
    bbox: [x1, y1, x2 - x1, y2 - y1].map(rounded),
    area: rounded(area ?? measured),
    iscrowd: crowd ? 1 : 0,
    segmentation: mask
      ? { size: mask.size, counts: compressCounts(mask.counts) }
      : (outlines ?? []).map(polygon => polygon.map(rounded)),
    ...(score !== undefined && { score }),
  };
}
