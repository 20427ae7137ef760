import { join, relative } from 'node:path';
import { formatAnswer } from '../../results/format.ts';
import { promptOf } from '../../text/prompt.ts';
import { outlinesOf, teaching } from '../objects.ts';
import {
  type DatasetWriter,
  labelNumber,
  type OutputFolder,
  type PlacedImage,
  rounded,
  TextFile,
  withoutExtension,
} from './output.ts';

/** A text file for each split, between a first and a last part. */
class SplitFiles {
  private readonly files = new Map<string, { file: TextFile; count: number }>();

  constructor(
    private readonly pathOf: (split: string) => string,
    private readonly first = '',
    private readonly separator = '',
    private readonly last = '',
  ) {}

  async add(split: string, text: string): Promise<void> {
    const found = this.files.get(split) ?? { file: new TextFile(this.pathOf(split)), count: 0 };
    this.files.set(split, found);
    await found.file.write((found.count++ === 0 ? this.first : this.separator) + text);
  }

  async close(): Promise<void> {
    for (const { file } of this.files.values()) {
      await file.write(this.last);
      await file.close();
    }
  }
}

const relativePath = (from: string, to: string): string => relative(from, to).replaceAll('\\', '/');

/** Writes `<split>/annotations.jsonl`: objects, captions and lines of text as the tasks that they teach. */
export function jsonlWriter({ folder, final }: OutputFolder): DatasetWriter {
  const files = new SplitFiles(split => join(folder, split, 'annotations.jsonl'));
  return {
    async add(image) {
      const { size, split, target, objects, captions, texts } = image;
      const subjects = (['objects', 'captions', 'texts'] as const).filter(name => image[name].length > 0);
      const rows = teaching([...(subjects.length > 0 ? subjects : (['objects'] as const)), 'rows'], undefined, '');
      const path = relativePath(join(final, split), target);
      for (const { task, text, box, answer } of rows({ objects, captions, texts, targets: image.targets })) {
        const prefix = box || text === undefined ? promptPrefix(task, box, size) : `${task}${text}`;
        const row = { image: path, prefix, suffix: formatAnswer(task, answer, size) };
        await files.add(split, `${JSON.stringify(row)}\n`);
      }
    },
    finish: () => files.close(),
  };
}

function promptPrefix(task: string, box: ArrayLike<number> | undefined, size: PlacedImage['size']): string {
  if (!box) return task;
  const [locations] = /(<loc_\d+>){4}/.exec(promptOf(task, { box }, size)) ?? [''];
  return `${task}${locations}`;
}

/** Writes `<split>/metadata.jsonl` of a Hugging Face imagefolder. */
export function huggingFaceWriter({ folder, final }: OutputFolder): DatasetWriter {
  const files = new SplitFiles(split => join(folder, split, 'metadata.jsonl'));
  return {
    async add({ objects, captions, split, target, size }) {
      const row = {
        file_name: relativePath(join(final, split), target),
        ...{ width: size.width, height: size.height },
        ...(captions.length > 0 && { text: captions[0] }),
        objects: {
          bbox: objects.map(({ box: [x1, y1, x2, y2] }) => [x1, y1, x2 - x1, y2 - y1].map(rounded)),
          categories: objects.map(({ label }) => label),
        },
      };
      await files.add(split, `${JSON.stringify(row)}\n`);
    },
    finish: () => files.close(),
  };
}

/** Writes `<split>.json` of Label Studio, with predictions instead of annotations for images whose objects have scores. */
export function labelStudioWriter({ folder, final }: OutputFolder): DatasetWriter {
  const files = new SplitFiles(split => join(folder, `${split}.json`), '[\n', ',\n', '\n]\n');
  return {
    async add(image) {
      const { size, split, target, objects } = image;
      const original = { original_width: size.width, original_height: size.height, image_rotation: 0 };
      const at = (value: number, side: 'width' | 'height'): number => (value * 100) / size[side];
      const points = (flat: readonly number[]): number[][] =>
        Array.from({ length: flat.length / 2 }, (_, i) => [at(flat[2 * i], 'width'), at(flat[2 * i + 1], 'height')]);
      let id = 0;
      const result = (type: string, value: object, more: object = {}): object => ({
        ...{
          id: `r${id++}`,
          from_name: type.replace('labels', ''),
          to_name: 'image',
          type,
          value,
          ...original,
          ...more,
        },
      });
      const regions = objects.flatMap(object => {
        const { label, box, score } = object;
        const more = score === undefined ? {} : { score };
        const outlines = outlinesOf(object);
        if (outlines.length > 0) {
          return outlines.map(outline =>
            result('polygonlabels', { points: points(outline), closed: true, polygonlabels: [label] }, more),
          );
        }
        const [x, y, width, height] = [box[0], box[1], box[2] - box[0], box[3] - box[1]];
        const value = {
          x: at(x, 'width'),
          y: at(y, 'height'),
          width: at(width, 'width'),
          height: at(height, 'height'),
        };
        return [result('rectanglelabels', { ...value, rotation: 0, rectanglelabels: [label] }, more)];
      });
      const lines = image.texts.flatMap(({ text, quad }) => {
        const shape = result('polygon', { points: points(quad), closed: true }) as { id: string };
        return [shape, result('textarea', { points: points(quad), text: [text] }, { id: shape.id })];
      });
      const captions = image.captions.length > 0 ? [result('textarea', { text: image.captions })] : [];
      const results = { result: [...regions, ...lines, ...captions] };
      const isScored = objects.some(({ score }) => score !== undefined);
      const address = `/data/local-files/?d=${encodeURIComponent(relativePath(final, target)).replaceAll('%2F', '/')}`;
      const task = { data: { image: address }, [isScored ? 'predictions' : 'annotations']: [results] };
      await files.add(split, JSON.stringify(task));
    },
    finish: () => files.close(),
  };
}

/** Writes `<split>/labels.json` of FiftyOne for the images in `<split>/data`. Names have no folders there. */
export function fiftyoneWriter({ folder, labels }: OutputFolder): DatasetWriter {
  const files = new SplitFiles(
    split => join(folder, split, 'labels.json'),
    '{"classes": null, "labels": {\n',
    ',\n',
    '\n}}\n',
  );
  const numbers = new Map<string, number>();
  return {
    async add({ file, size, objects, split }) {
      const rows = objects.map(({ label, box: [x1, y1, x2, y2], score }) => {
        labelNumber(labels, numbers, label);
        const bounding_box = [x1 / size.width, y1 / size.height, (x2 - x1) / size.width, (y2 - y1) / size.height];
        return { label, bounding_box, ...(score !== undefined && { confidence: score }) };
      });
      await files.add(split, `${JSON.stringify(withoutExtension(file))}: ${JSON.stringify(rows)}`);
    },
    finish: () => files.close(),
  };
}
