import { join, relative } from 'node:path';
import { maskBounds } from '../../geometry/masks.ts';
import { decodeRle, encodeRle } from '../../geometry/rle.ts';
import type { LabelledObject } from '../annotation.ts';
import { type DatasetWriter, type OutputFolder, rounded, TextFile, xml } from './output.ts';

/** Writes `<split>.xml` of CVAT for images 1.1. Corners of turned boxes are polygons. */
export function cvatWriter({ folder, final }: OutputFolder): DatasetWriter {
  const files = new Map<string, { file: TextFile; count: number }>();
  return {
    async add({ size, split, target, objects, texts }) {
      const found = files.get(split) ?? { file: new TextFile(join(folder, `${split}.xml`)), count: 0 };
      if (!files.has(split)) {
        files.set(split, found);
        await found.file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n');
      }
      const isInside = target.startsWith(join(final, 'images', split));
      const name = relative(isInside ? join(final, 'images') : final, target).replaceAll('\\', '/');
      const sizes = `width="${size.width}" height="${size.height}"`;
      const shapes = objects.map((object, i) => shapesOf(object, i + 1)).join('');
      const lines = texts.map(({ text, quad }) => {
        const attribute = `<attribute name="text">${xml(text)}</attribute>`;
        return `    <polygon label="text" occluded="0" points="${pairs(quad)}">${attribute}</polygon>\n`;
      });
      const head = `  <image id="${found.count++}" name="${xml(name)}" ${sizes}>\n`;
      await found.file.write(`${head}${shapes}${lines.join('')}  </image>\n`);
    },
    async finish() {
      for (const { file } of files.values()) {
        await file.write('</annotations>\n');
        await file.close();
      }
    },
  };
}

const pairs = (points: readonly number[]): string =>
  Array.from({ length: points.length / 2 }, (_, i) => `${rounded(points[2 * i])},${rounded(points[2 * i + 1])}`).join(
    ';',
  );

function shapesOf({ label, box, polygons, quad, mask }: LabelledObject, group: number): string {
  const base = `label="${xml(label)}" occluded="0"`;
  if (mask) {
    const whole = decodeRle(mask);
    const [left, top, width, height] = maskBounds(whole);
    // CVAT's run lengths go row by row, COCO's column by column: those of the transposed part are encoded.
    const data = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) data[x * height + y] = whole.data[(top + y) * whole.width + left + x];
    }
    const { counts } = encodeRle({ data, width: height, height: width });
    const place = `left="${left}" top="${top}" width="${width}" height="${height}"`;
    return `    <mask ${base} rle="${counts.join(', ')}" ${place}></mask>\n`;
  }
  const outlines = polygons ?? (quad ? [quad] : []);
  const groups = outlines.length > 1 ? ` group_id="${group}"` : '';
  if (outlines.length > 0) {
    return outlines.map(points => `    <polygon ${base} points="${pairs(points)}"${groups}></polygon>\n`).join('');
  }
  const [xtl, ytl, xbr, ybr] = box.map(rounded);
  return `    <box ${base} xtl="${xtl}" ytl="${ytl}" xbr="${xbr}" ybr="${ybr}"></box>\n`;
}
