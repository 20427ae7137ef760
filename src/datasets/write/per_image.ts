import { dirname, join, posix, relative } from 'node:path';
import { outlinesOf } from '../objects.ts';
import {
  type DatasetWriter,
  labelNumber,
  type OutputFolder,
  rounded,
  TextFile,
  withoutExtension,
  writeText,
  xml,
} from './output.ts';

/**
 * Writes Pascal VOC: `Annotations/*.xml` for the images in `JPEGImages`, the splits in `ImageSets/Main`, and the labels in
 * `labelmap.txt`, which Datumaro and CVAT need.
 */
export function vocWriter({ folder, labels }: OutputFolder): DatasetWriter {
  const lists = new Map<string, TextFile>();
  const numbers = new Map<string, number>();
  return {
    async add({ file, size, objects, split }) {
      for (const { label } of objects) labelNumber(labels, numbers, label);
      const name = split === 'valid' ? 'val' : split;
      const list = lists.get(name) ?? new TextFile(join(folder, 'ImageSets', 'Main', `${name}.txt`));
      lists.set(name, list);
      await list.write(`${withoutExtension(file)}\n`);
      const tag = (tag: string, text: string | number): string => `<${tag}>${xml(String(text))}</${tag}>`;
      const shapes = objects.map(({ label, box }) => {
        // One decimal at least: a file of whole numbers would count pixels from 1.
        const bounds = ['xmin', 'ymin', 'xmax', 'ymax'].map((side, i) => tag(side, decimal(box[i]))).join('');
        return `  <object>${tag('name', label)}<difficult>0</difficult><bndbox>${bounds}</bndbox></object>\n`;
      });
      const head = `  <folder>JPEGImages</folder>\n  ${tag('filename', posix.basename(file))}\n`;
      const sizes = `  <size>${tag('width', size.width)}${tag('height', size.height)}<depth>3</depth></size>\n`;
      const text = `<annotation>\n${head}${sizes}${shapes.join('')}</annotation>\n`;
      await writeText(join(folder, 'Annotations', `${withoutExtension(file)}.xml`), text);
    },
    async finish() {
      for (const list of lists.values()) await list.close();
      const rows = ['background', ...labels].map(label => `${label}:::\n`);
      await writeText(join(folder, 'labelmap.txt'), `# label:color_rgb:parts:actions\n${rows.join('')}`);
    },
  };
}

const decimal = (value: number): string =>
  Number.isInteger(rounded(value)) ? value.toFixed(1) : String(rounded(value));

/** Writes LabelMe: a JSON file for each image, in the folder of its split. */
export function labelmeWriter({ folder, final }: OutputFolder): DatasetWriter {
  return {
    async add({ file, size, objects, texts, split, target }) {
      const path = join(split, `${withoutExtension(file)}.json`);
      const points = (flat: readonly number[]): number[][] =>
        Array.from({ length: flat.length / 2 }, (_, i) => [rounded(flat[2 * i]), rounded(flat[2 * i + 1])]);
      const shape = (label: string, flat: readonly number[], shape_type: string, more: object = {}): object => ({
        ...{ label, points: points(flat), group_id: null, description: '', shape_type, flags: {}, ...more },
      });
      const shapes = objects.flatMap((object, i) => {
        if (object.quad) return [shape(object.label, object.quad, 'oriented_rectangle')];
        const outlines = outlinesOf(object);
        if (outlines.length === 0) return [shape(object.label, object.box, 'rectangle')];
        const group_id = outlines.length > 1 ? i + 1 : null;
        return outlines.map(outline => shape(object.label, outline, 'polygon', { group_id }));
      });
      const lines = texts.map(({ text, quad }) => shape('text', quad, 'polygon', { description: text }));
      const json = {
        ...{ version: '6.3.1', flags: {}, shapes: [...shapes, ...lines], imageData: null },
        imagePath: relative(dirname(join(final, path)), target).replaceAll('\\', '/'),
        ...{ imageHeight: size.height, imageWidth: size.width },
      };
      await writeText(join(folder, path), `${JSON.stringify(json, null, 1)}\n`);
    },
    finish: async () => undefined,
  };
}

/** Writes the first caption of each image beside it. */
export function captionWriter({ folder }: OutputFolder): DatasetWriter {
  return {
    async add({ file, captions, split }) {
      if (captions.length > 0)
        await writeText(join(folder, split, `${withoutExtension(file)}.txt`), `${captions[0]}\n`);
    },
    finish: async () => undefined,
  };
}
