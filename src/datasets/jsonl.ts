import { dirname } from 'node:path';
import { Florence2Error, UsageError } from '../errors.ts';
import { readLines } from '../files/lines.ts';
import { isRecord } from '../json.ts';
import type { TypedAnswer } from '../results/format.ts';
import { show } from '../show.ts';
import { resolveTask } from '../text/tasks.ts';
import { ExampleList } from './collect.ts';
import type { Dataset, SourcedTarget } from './example.ts';
import { ImageFolder } from './find_images.ts';
import { type ReadOptions, reporting, throwErrors } from './reading.ts';
import { checkTarget, splitPrompt } from './targets.ts';

/**
 * Reads a file of JSON lines in the layout of Roboflow's maestro. Each line has `image` (a path relative to the file),
 * `prefix` (a task token with its text or region, or a custom prompt) and `suffix` (the exact text to learn, with or
 * without location tokens). Instead of prefix and suffix, a line may have `task`, `text`, `box` and `answer`, a typed
 * answer in pixels. All lines of an image become one example.
 *
 * @throws Florence2Error that names the file and line of the invalid entry, unless `onProblem` is given
 */
export async function readJsonl(file: string, options: ReadOptions = {}): Promise<Dataset> {
  const { onProblem = throwErrors } = options;
  const tasks: string[] | undefined = options.tasks?.map(resolveTask);
  const images = new ImageFolder(dirname(file));
  const examples = new ExampleList();
  for await (const { line, text } of readLines(file)) {
    const source = `${file}:${line}`;
    reporting(source, onProblem, () => {
      const { image, ...target } = readRow(text);
      checkTarget(target);
      const path = images.find(image);
      if (!tasks || tasks.includes(target.task)) examples.add(path, [{ ...target, source }], source);
    });
  }
  const dataset = examples.dataset(file);
  if (dataset.length === 0) onProblem({ severity: 'error', source: file, message: 'The file has no examples.' });
  return dataset;
}

function readRow(text: string): SourcedTarget & { image: string } {
  const row = parseRow(text);
  const image = words(row, 'image');
  if (row.suffix !== undefined && row.answer !== undefined) {
    throw new UsageError('The line has both a suffix and an answer: give only one of them.');
  }
  if (row.answer === undefined) {
    return { image, ...splitPrompt(words(row, 'prefix')), answer: words(row, 'suffix') };
  }
  return {
    image,
    task: words(row, 'task'),
    ...(row.text !== undefined && { text: row.text as string }),
    ...(row.box !== undefined && { box: row.box as number[] }),
    answer: row.answer as TypedAnswer | string,
  };
}

/** Returns the line as an object, without fields that are null, which exports write for absent values. */
function parseRow(text: string): Record<string, unknown> {
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

function words(row: Record<string, unknown>, field: string): string {
  const value = row[field];
  if (typeof value === 'string') return value;
  const fields = Object.keys(row).join(', ') || 'none';
  throw new UsageError(
    value === undefined
      ? `The field ${field} is missing; the line has ${fields}.`
      : `The field ${field} is ${show(value)}, expected a text.`,
  );
}
