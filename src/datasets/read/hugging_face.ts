import { createReadStream } from 'node:fs';
import { dirname } from 'node:path';
import { parse as parseCsv } from 'csv-parse';
import { Florence2Error, UsageError } from '../../errors.ts';
import { readLines } from '../../files/lines.ts';
import { requireFile } from '../../files/whole_file.ts';
import { isRecord } from '../../json.ts';
import { show } from '../../show.ts';
import {
  addObject,
  newImage,
  type ReadContext,
  type ReadImage,
  type ReadSet,
  reporting,
  subjectsOf,
} from '../reading.ts';
import { checkTarget, splitPrompt } from '../targets.ts';
import { parseRow, words } from './jsonl.ts';

/** Columns that hold a caption. */
const CAPTIONS = ['text', 'caption', 'captions'];

/**
 * Reads `metadata.jsonl` or `metadata.csv` of a Hugging Face imagefolder. Each row has `file_name` and: `text` (or
 * `caption`), a caption; `question` and `answer`; or `objects` with `bbox` (x, y, width, height) and `categories`. Without
 * names, the numbers of categories are the labels.
 *
 * @throws Florence2Error that names the file and line of the invalid entry, unless the context handles problems
 */
export async function readHuggingFace(file: string, { images: places, onProblem }: ReadContext): Promise<ReadSet> {
  const finder = places.within(dirname(file));
  const byPath = new Map<string, ReadImage>();
  let numbered = false;
  for await (const { line, row } of rowsOf(file, onProblem)) {
    const source = `${file}:${line}`;
    reporting(source, onProblem, () => {
      const path = finder.find(words(row, 'file_name'));
      const size =
        typeof row.width === 'number' && typeof row.height === 'number'
          ? { width: row.width, height: row.height }
          : undefined;
      const image = byPath.get(path) ?? newImage(path, finder.nameOf(path), source, size);
      byPath.set(path, image);
      const caption = CAPTIONS.map(name => row[name]).find(value => value !== undefined);
      image.captions.push(...[caption].flat().filter((text): text is string => typeof text === 'string'));
      if (row.question !== undefined) {
        const target = { ...splitPrompt(words(row, 'question')), answer: words(row, 'answer'), source };
        checkTarget(target);
        image.targets.push(target);
      }
      if (row.objects !== undefined) numbered = addObjects(image, row.objects, source, onProblem) || numbered;
    });
  }
  if (numbered) {
    const message = 'The categories are numbers without names: the numbers are the labels.';
    onProblem({ severity: 'warning', source: file, message });
  }
  const images = [...byPath.values()];
  return { name: file, format: 'hf', images, subjects: subjectsOf(images, 'captions'), frame: 'upright' };
}

/** Adds objects, and returns whether their categories are numbers. */
function addObjects(image: ReadImage, objects: unknown, source: string, onProblem: ReadContext['onProblem']): boolean {
  const columns = isRecord(objects) ? objects : {};
  const { bbox, categories = columns.category ?? columns.label ?? columns.labels } = columns;
  if (!Array.isArray(bbox) || !Array.isArray(categories)) {
    throw new UsageError(`objects is ${show(objects)}, expected bbox and categories.`);
  }
  if (bbox.length !== categories.length) {
    throw new UsageError(`objects has ${bbox.length} bbox, but ${categories.length} categories.`);
  }
  for (const [i, box] of bbox.entries()) {
    if (!Array.isArray(box) || box.length !== 4 || !box.every(Number.isFinite) || box[2] < 0 || box[3] < 0) {
      throw new UsageError(`objects.bbox[${i}] is ${show(box)}, expected x, y, width and height.`);
    }
    const [x, y, width, height] = box as number[];
    const label = String(categories[i]);
    addObject(image, { label, box: [x, y, x + width, y + height] }, `${source}: objects[${i}]`, onProblem);
  }
  return categories.some(category => typeof category === 'number');
}

/** Yields the rows of a file with their lines. A row of a CSV file may span several lines; the first is given. */
async function* rowsOf(
  file: string,
  onProblem: ReadContext['onProblem'],
): AsyncGenerator<{ line: number; row: Record<string, unknown> }, void> {
  if (!/\.csv$/i.test(file)) {
    for await (const { line, text } of readLines(file)) {
      const row = reporting(`${file}:${line}`, onProblem, () => parseRow(text));
      if (row) yield { line, row };
    }
    return;
  }
  await requireFile(file);
  const parser = createReadStream(file).pipe(
    parseCsv({ bom: true, columns: true, skip_empty_lines: true, info: true, max_record_size: 1 << 24 }),
  );
  let line = 2; // after the header
  try {
    for await (const { record: row, info } of parser as AsyncIterable<{
      record: Record<string, unknown>;
      info: { lines: number };
    }>) {
      yield { line, row };
      line = info.lines + 1;
    }
  } catch (error) {
    if (error instanceof Florence2Error) throw error;
    throw new Florence2Error(`${file}:${line}: The line is not CSV: ${(error as Error).message}.`, { cause: error });
  }
}
