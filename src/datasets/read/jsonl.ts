import { dirname } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { readLines } from '../../files/lines.ts';
import { isRecord } from '../../json.ts';
import type { TypedAnswer } from '../../results/format.ts';
import { show } from '../../show.ts';
import type { SourcedTarget } from '../example.ts';
import { newImage, type ReadContext, type ReadImage, type ReadSet, reporting } from '../reading.ts';
import { checkTarget, splitPrompt } from '../targets.ts';

/**
 * Reads a file of JSON lines in the layout of Roboflow's maestro. Each line has `image` (a path relative to the file),
 * `prefix` (a task token with its text or region, or a custom prompt) and `suffix` (the exact text to learn, with or
 * without location tokens). Instead of prefix and suffix, a line may have `task`, `text`, `box` and `answer`, a typed
 * answer in pixels, or `question` and `answer`, both texts. All lines of an image become one example.
 *
 * @throws Florence2Error that names the file and line of the invalid entry, unless the context handles problems
 */
export async function readJsonl(file: string, { images, onProblem }: ReadContext): Promise<ReadSet> {
  const finder = images.within(dirname(file));
  const byPath = new Map<string, ReadImage>();
  for await (const { line, text } of readLines(file)) {
    const source = `${file}:${line}`;
    reporting(source, onProblem, () => {
      const { image, target } = readRow(text, source);
      checkTarget(target);
      const path = finder.find(image);
      const found = byPath.get(path) ?? newImage(path, finder.nameOf(path), source);
      byPath.set(path, found);
      found.targets.push(target);
    });
  }
  if (byPath.size === 0) onProblem({ severity: 'error', source: file, message: 'The file has no examples.' });
  return { name: file, format: 'jsonl', images: [...byPath.values()], subjects: ['rows'], frame: 'stored' };
}

function readRow(text: string, source: string): { image: string; target: SourcedTarget } {
  const row = parseRow(text);
  const image = words(row, 'image');
  if (row.suffix !== undefined && row.answer !== undefined) {
    throw new UsageError('The line has both a suffix and an answer: give only one of them.');
  }
  if (row.question !== undefined && row.task === undefined) {
    return { image, target: { answer: words(row, 'answer'), source, ...splitPrompt(words(row, 'question')) } };
  }
  if (row.answer === undefined) {
    return { image, target: { answer: words(row, 'suffix'), source, ...splitPrompt(words(row, 'prefix')) } };
  }
  const target: SourcedTarget = { task: words(row, 'task'), answer: row.answer as TypedAnswer | string, source };
  if (row.text !== undefined) target.text = row.text as string;
  if (row.box !== undefined) target.box = row.box as number[];
  return { image, target };
}

/** Returns the line as an object, without fields that are null, which exports write for absent values. */
export function parseRow(text: string): Record<string, unknown> {
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch (error) {
    throw new Florence2Error(`The line is not JSON: ${(error as Error).message.replaceAll('\n', ' ')}.`, {
      cause: error,
    });
  }
  if (!isRecord(row)) throw new UsageError(`The line is ${show(row)}, expected an object.`);
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
}

/** Returns a field that is a text. @throws UsageError that lists the fields */
export function words(row: Record<string, unknown>, field: string): string {
  const value = row[field];
  if (typeof value === 'string') return value;
  const fields = Object.keys(row).join(', ') || 'none';
  throw new UsageError(
    value === undefined
      ? `The field ${field} is missing; the line has ${fields}.`
      : `The field ${field} is ${show(value)}, expected a text.`,
  );
}
