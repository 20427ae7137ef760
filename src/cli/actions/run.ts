import { join } from 'node:path';
import { expandImages } from '../../datasets/find_images.ts';
import { draw, encodeMask } from '../../drawing/sharp.ts';
import { UsageError } from '../../errors.ts';
import { writeWhole } from '../../files/write.ts';
import type { Florence2 } from '../../florence2.ts';
import { polygonsToMask } from '../../geometry/masks.ts';
import { decodeImage } from '../../image/decode.ts';
import { imageName } from '../../image/source.ts';
import type { RawImage } from '../../image/types.ts';
import { filterByScore } from '../../results/filter.ts';
import type { TaskResult } from '../../results/types.ts';
import { type TaskArguments, taskText } from '../../text/prompt.ts';
import { resolveTask, TASKS, type TaskInput, taskInfo } from '../../text/tasks.ts';
import { describe, interruptSignal } from '../exit.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { type AnswerFlags, answerOptions } from '../options.ts';
import { drawingPaths, type ImageNames, nameImages } from '../outputs.ts';
import { roundedCoordinates } from '../print/numbers.ts';
import { resultLines } from '../print/result.ts';
import { ProgressBars } from '../progress.ts';

/** One task or prompt, which is run on every image. */
interface NamedRequest extends TaskArguments {
  /** A task token, or a prompt. */
  task: string;
  /** Its part of the names of output files. */
  name: string;
}

/** An image and its results, one per question. */
interface Answered {
  image: string;
  raw: RawImage;
  results: TaskResult[];
}

/**
 * Runs all questions on all images, prints the results and writes the pictures. An unreadable image is reported, and
 * the run continues with the others.
 */
export async function runTasks(args: string[], flags: RunFlags): Promise<void> {
  const questions = readQuestions(flags);
  const images = await expandImages(args);
  const names = nameImages(images);
  const writers = [printer(flags, images.length > 1), ...pictureWriters(flags, names, questions)];
  const signal = interruptSignal();
  const model = await loadModel(flags);
  const bars = new ProgressBars();
  try {
    for (let first = 0; first < images.length; first += flags.batch) {
      signal.throwIfAborted();
      if (images.length > 1) bars.show('Images', first, images.length, 'images');
      const batch = await readImages(images.slice(first, first + flags.batch), flags, bars);
      const answered = await answer(model, batch, questions, flags, signal);
      bars.stop();
      for (const item of answered) for (const write of writers) await write(item);
    }
  } finally {
    bars.stop();
    model.dispose();
  }
}

function readQuestions({ task = [], prompt = [], text, box }: RunFlags): NamedRequest[] {
  const tasks = task.map(name => taskInfo(resolveTask(name)));
  const takers = (input: TaskInput) =>
    TASKS.filter(row => row.input === input)
      .map(({ name }) => name)
      .join(', ');
  if (text !== undefined && !tasks.some(({ input }) => input === 'text')) {
    throw new UsageError(`--text: none of the tasks takes a text. Tasks with a text: ${takers('text')}.`);
  }
  if (box !== undefined && !tasks.some(({ input }) => input === 'region')) {
    throw new UsageError(`--box: none of the tasks takes a region. Tasks with a region: ${takers('region')}.`);
  }
  const questions: NamedRequest[] = tasks.map(({ task, name, input }) => {
    const given = { text: input === 'text' ? text : undefined, box: input === 'region' ? box : undefined };
    taskText(task, given, { width: 1, height: 1 }); // reports missing input before the model is loaded
    return { task, name, ...given };
  });
  questions.push(...prompt.map((task, i) => ({ task, name: `prompt-${i + 1}` })));
  if (questions.length > 0) return questions;
  throw new UsageError(`A task is required: give --task (${TASKS.map(({ name }) => name).join(', ')}) or --prompt.`);
}

/** Returns the images that can be read. Reports the others, and sets the exit code to 1. */
async function readImages(
  paths: string[],
  { applyOrientation, json }: RunFlags,
  bars: ProgressBars,
): Promise<{ image: string; raw: RawImage }[]> {
  const read = await Promise.allSettled(paths.map(path => decodeImage(path, { applyOrientation })));
  return read.flatMap((outcome, i) => {
    const image = paths[i];
    if (outcome.status === 'fulfilled') return { image, raw: outcome.value };
    bars.stop();
    const error = describe(outcome.reason);
    process.stderr.write(`florence2: ${error}\n`);
    if (json) process.stdout.write(`${JSON.stringify({ image: imageName(image), error })}\n`);
    process.exitCode = 1;
    return [];
  });
}

/** Encodes each image once, then runs every question on the whole batch. */
async function answer(
  model: Florence2,
  batch: { image: string; raw: RawImage }[],
  questions: NamedRequest[],
  flags: RunFlags,
  signal: AbortSignal,
): Promise<Answered[]> {
  const options = { ...answerOptions(flags), signal };
  const features = await model.encodeImages(batch.map(({ raw }) => raw));
  try {
    const answers: TaskResult[][] = [];
    for (const { task, text, box } of questions) {
      const results = await model.runBatch(
        features.map(image => ({ image, task, text, box })),
        options,
      );
      answers.push(
        results.map(result => (flags.minScore === undefined ? result : filterByScore(result, flags.minScore))),
      );
    }
    return batch.map((item, i) => ({ ...item, results: answers.map(results => results[i]) }));
  } finally {
    for (const image of features) image.dispose();
  }
}

/** Returns a function that prints results: JSON Lines, or text with headings if there are several images or tasks. */
function printer({ json }: RunFlags, severalImages: boolean): (item: Answered) => Promise<void> {
  return async ({ image, results }) => {
    for (const result of results) {
      if (json) {
        process.stdout.write(`${JSON.stringify({ image: imageName(image), ...result }, roundedCoordinates)}\n`);
        continue;
      }
      const question = result.task === 'prompt' ? result.prompt : result.task;
      const heading = [severalImages && imageName(image), results.length > 1 && question].filter(Boolean).join('  ');
      const indent = heading ? '  ' : '';
      const lines = resultLines(result).map(line => indent + line);
      process.stdout.write(`${[...(heading ? [heading] : []), ...lines].join('\n')}\n`);
    }
  };
}

/** Returns the functions that write drawings and masks, as the flags request. */
function pictureWriters({ draw: path, masks: folder }: RunFlags, names: ImageNames, questions: NamedRequest[]) {
  const writers: ((item: Answered) => Promise<void>)[] = [];
  if (path !== undefined) {
    const pathOf = drawingPaths(path, names, questions.length > 1);
    writers.push(async ({ image, raw, results }) => {
      for (const [i, result] of results.entries())
        await writeWhole(pathOf(image, questions[i].name), await draw(raw, result));
    });
  }
  if (folder !== undefined) {
    writers.push(async ({ image, results }) => {
      for (const [i, result] of results.entries()) {
        const instances = 'instances' in result ? result.instances : [];
        for (const [n, { polygons }] of instances.entries()) {
          const mask = await encodeMask(polygonsToMask(polygons, result.imageSize));
          await writeWhole(join(folder, `${names.get(image)}.${questions[i].name}.${n + 1}.png`), mask);
        }
      }
    });
  }
  return writers;
}

export interface RunFlags extends ModelFlags, AnswerFlags {
  task?: string[];
  prompt?: string[];
  text?: string;
  box?: number[];
  minScore?: number;
  applyOrientation?: boolean;
  json?: boolean;
  draw?: string;
  masks?: string;
  batch: number;
}
