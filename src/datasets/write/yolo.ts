import { join } from 'node:path';
import { stringify } from 'yaml';
import type { LabelledObject } from '../annotation.ts';
import { outlinesOf } from '../objects.ts';
import { cornersOf } from '../read/shapes.ts';
import {
  type DatasetWriter,
  labelNumber,
  type OutputFolder,
  type PlacedImage,
  withoutExtension,
  writeText,
} from './output.ts';

/** What a line of a label file holds. */
export type YoloKind = 'boxes' | 'polygons' | 'corners';

/** Writes `labels/<split>/*.txt` for the images in `images/<split>`, and data.yaml. Crowds are left out. */
export function yoloWriter({ folder, labels }: OutputFolder, kind: YoloKind): DatasetWriter {
  const numbers = new Map<string, number>();
  const splits = new Set<string>();
  return {
    async add(image) {
      splits.add(image.split);
      const lines = image.objects
        .filter(({ crowd }) => !crowd)
        .flatMap(object =>
          rowsOf(object, kind, image).map(row => [labelNumber(labels, numbers, object.label), ...row]),
        );
      if (lines.length === 0) return;
      const path = join(folder, 'labels', image.split, `${withoutExtension(image.file)}.txt`);
      await writeText(path, lines.map(line => `${line.join(' ')}\n`).join(''));
    },
    async finish() {
      const paths = { train: 'images/train', ...(splits.has('valid') && { val: 'images/valid' }) };
      const config = {
        ...(splits.has('train') ? paths : { ...paths, train: undefined }),
        ...(splits.has('test') && { test: 'images/test' }),
        names: Object.fromEntries(labels.map((label, i) => [i, label])),
      };
      await writeText(join(folder, 'data.yaml'), stringify(config));
    },
  };
}

function rowsOf(object: LabelledObject, kind: YoloKind, { size: { width, height } }: PlacedImage): number[][] {
  const [x1, y1, x2, y2] = object.box;
  const fractions = (points: readonly number[]): number[] =>
    points.map((value, i) => Math.round(Math.min(Math.max(value / (i % 2 ? height : width), 0), 1) * 1e8) / 1e8);
  if (kind === 'boxes') return [fractions([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])];
  if (kind === 'corners') return [fractions(object.quad ?? cornersOf(object.box))];
  const outlines = outlinesOf(object);
  return (outlines.length > 0 ? outlines : [cornersOf(object.box)]).map(fractions);
}
