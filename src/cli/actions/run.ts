import { join } from 'node:path';
import { expandImages } from '../../datasets/find_images.ts';
import { semanticNpy, semanticPng } from '../../drawing/semantic_files.ts';
import { draw, encodeMask } from '../../drawing/sharp.ts';
import { Florence2Error, UsageError } from '../../errors.ts';
import { writeWhole } from '../../files/write.ts';
import type { Florence2 } from '../../florence2.ts';
import { polygonsToMask } from '../../geometry/masks.ts';
import { type ExifOrientation, uprightBox } from '../../geometry/orientation.ts';
import { decodeForModel } from '../../image/decode.ts';
import { imageName } from '../../image/source.ts';
import type { RawImage } from '../../image/types.ts';
import type { RunOptions } from '../../requests.ts';
import { filterByLabel, filterByScore } from '../../results/filter.ts';
import type { TextPage } from '../../results/layout/documents.ts';
import { semanticMap } from '../../results/semantic.ts';
import { turnResult } from '../../results/turn.ts';
import type { TaskResult } from '../../results/types.ts';
import { skipErrors } from '../../skip_errors.ts';
import { checkArguments, type TaskArguments } from '../../text/prompt.ts';
import { resolveTask, TASKS, type TaskInfo, type TaskInput, taskInfo } from '../../text/tasks.ts';
import { checkTiledTask, runTiled } from '../../tiling/run_tiled.ts';
import { describe, interruptSignal, reportFailures } from '../exit.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { type AnswerFlags, answerOptions } from '../options.ts';
import { drawingPaths, type ImageNames, nameImages } from '../outputs.ts';
import { checkLayout, type LayoutFormat, layoutDocument, pageOf } from '../print/layout.ts';
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

/** An image as the model reads it. */
interface ReadImage {
  image: string;
  raw: RawImage;
  /** The EXIF orientation that was applied. */
  turned: ExifOrientation;
}

/** An image and its results, one per question: in pixels of the stored image, and of `raw`, which drawings show. */
interface Answered extends ReadImage {
  results: TaskResult[];
  drawn: TaskResult[];
}

/**
 * Runs all questions on all images, prints the results and writes the pictures. An image that fails is reported, and the
 * run continues with the others; its exit code is then 1.
 */
export async function runTasks(args: string[], flags: RunFlags): Promise<void> {
  const { layout, semantic } = flags;
  const asked = layout && !flags.task && !flags.prompt ? { ...flags, task: ['ocr-with-region'] } : flags;
  const questions = semantic === undefined ? readQuestions(asked) : semanticQuestions(flags);
  const images = await expandImages(args);
  if (layout)
    checkLayout(
      layout,
      questions.map(({ task }) => task),
      images.length,
    );
  const names = nameImages(images);
  const pages: TextPage[] = [];
  const print = layout
    ? async ({ image, results: [result] }: Answered) => void pages.push(pageOf(imageName(image), result))
    : printer(flags, images.length > 1);
  const writers = [print, ...pictureWriters(flags, names, questions)];
  const signal = interruptSignal();
  const model = await loadModel(flags);
  const bars = new ProgressBars();
  let failed = 0;
  try {
    for (let first = 0; first < images.length; first += flags.batch) {
      signal.throwIfAborted();
      if (images.length > 1) bars.show('Images', first, images.length, 'images');
      const batch = images.slice(first, first + flags.batch);
      const answered = await skipErrors(batch, some => answer(model, some, questions, flags, signal));
      bars.stop();
      for (const [i, item] of answered.entries()) {
        if (item instanceof Florence2Error) {
          failed++;
          printFailure(batch[i], item, flags);
        } else for (const write of writers) await write(item);
      }
    }
    reportFailures(failed, images.length);
    if (layout) process.stdout.write(layoutDocument(pages, layout));
  } finally {
    bars.stop();
    model.dispose();
  }
}

function readQuestions({ task = [], prompt = [], text, box, classes, tiles, overlap }: RunFlags): NamedRequest[] {
  const tasks = task.map(name => taskInfo(resolveTask(name)));
  if (classes && text !== undefined) throw new UsageError('Give either --classes or --text, not both.');
  if (classes && !tasks.some(row => row.task === '<OD>' || takesList(row))) {
    throw new UsageError(
      '--classes: give --task od to keep only these classes, or --task open-vocabulary-detection or grounding to ask for them.',
    );
  }
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
  const questions: NamedRequest[] = tasks.map(row => {
    const { task, name, input } = row;
    const words = takesList(row) ? (classes ?? text) : text;
    const given = { text: input === 'text' ? words : undefined, box: input === 'region' ? box : undefined };
    checkArguments(task, given); // reports missing input before the model is loaded
    return { task, name, ...given };
  });
  questions.push(...prompt.map((task, i) => ({ task, name: `prompt-${i + 1}` })));
  if (overlap !== undefined && tiles === undefined)
    throw new UsageError('--overlap is that of --tiles, which is missing.');
  if (tiles !== undefined) for (const { task } of questions) checkTiledTask(task);
  if (questions.length > 0) return questions;
  throw new UsageError(`A task is required: give --task (${TASKS.map(({ name }) => name).join(', ')}) or --prompt.`);
}

/** Whether the text of a task may be a list of class names. */
const takesList = ({ answer }: TaskInfo): boolean => answer === 'phrases' || answer === 'boxes or polygons';

/** Prints the error of an image to stderr and, with --json, in the place of its result. */
function printFailure(image: string, error: unknown, { json }: RunFlags): void {
  const message = describe(error);
  process.stderr.write(`florence2: ${message}\n`);
  if (json) process.stdout.write(`${JSON.stringify({ image: imageName(image), error: message })}\n`);
}

/** Returns a question per class for --semantic, whose --text names the classes. */
function semanticQuestions({ task = [], prompt = [], text = '' }: RunFlags): NamedRequest[] {
  const row = taskInfo('<REFERRING_EXPRESSION_SEGMENTATION>');
  const others = task.some(name => resolveTask(name) !== row.task) || prompt.length > 0;
  const classes = [...new Set(text.split(',').map(name => name.trim()))].filter(name => name !== '');
  if (others) throw new UsageError(`--semantic is for --task ${row.name} alone.`);
  if (classes.length === 0) throw new UsageError('--semantic needs the names of the classes: --text "road, car".');
  return classes.map((name, i) => ({ task: row.task, name: `${row.name}-${i + 1}`, text: name }));
}

/** Returns the results with the classes that they were asked about as labels. */
const withLabels = (results: TaskResult[], questions: readonly NamedRequest[]): TaskResult[] =>
  results.map((result, i) => {
    if (!('instances' in result)) return result;
    return { ...result, instances: result.instances.map(item => ({ ...item, label: String(questions[i].text) })) };
  });

/** Decodes the images, encodes each once, or each of its tiles, and runs every question on the whole batch. */
async function answer(
  model: Florence2,
  images: readonly string[],
  questions: NamedRequest[],
  flags: RunFlags,
  signal: AbortSignal,
): Promise<Answered[]> {
  const { orientation } = flags;
  const batch: ReadImage[] = await Promise.all(
    images.map(async path => {
      const { image: raw, turned } = await decodeForModel(path, { orientation });
      return { image: path, raw, turned };
    }),
  );
  const options = { ...answerOptions(flags), signal };
  const results = await (flags.tiles === undefined
    ? wholeAnswers(model, batch, questions, options)
    : tiledAnswers(model, batch, questions, flags, options));
  return batch.map((item, i) => {
    const labelled = flags.semantic === undefined ? results[i] : withLabels(results[i], questions);
    const kept = labelled.map(result => filtered(result, flags));
    return { ...item, drawn: kept, results: kept.map(result => turnResult(result, item.turned)) };
  });
}

/** Returns the results by image and question, in pixels of the images as they are read. */
async function wholeAnswers(model: Florence2, batch: ReadImage[], questions: NamedRequest[], options: RunOptions) {
  const features = await model.encodeImages(batch.map(({ raw }) => raw));
  try {
    const answers: TaskResult[][] = batch.map(() => []);
    for (const question of questions) {
      const requests = batch.map((item, i) => ({ ...turnedRequest(question, item), image: features[i] }));
      for (const [i, result] of (await model.runBatch(requests, options)).entries()) answers[i].push(result);
    }
    return answers;
  } finally {
    for (const image of features) image.dispose();
  }
}

async function tiledAnswers(
  model: Florence2,
  batch: ReadImage[],
  questions: NamedRequest[],
  flags: RunFlags,
  options: RunOptions,
) {
  const tiles = { size: flags.tiles!, overlap: flags.overlap, batch: flags.batch };
  const answers: TaskResult[][] = [];
  const requests = questions.map(({ task, text, box }) => ({ task, text, box }));
  for (const { raw } of batch) answers.push(await runTiled(model, raw, requests, tiles, options));
  return answers;
}

/** Returns a question whose box, given in pixels of the stored image, is in those of the image as it is read. */
function turnedRequest({ task, text, box }: NamedRequest, { raw, turned }: ReadImage) {
  return { task, text, box: box && uprightBox(box, raw, turned) };
}

/** Returns a result without the objects that --min-score and, for object detection, --classes exclude. */
function filtered(result: TaskResult, { minScore, classes }: RunFlags): TaskResult {
  const scored = minScore === undefined ? result : filterByScore(result, minScore);
  return classes && scored.task === '<OD>' ? filterByLabel(scored, classes) : scored;
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
function pictureWriters(
  { draw: path, masks: folder, semantic }: RunFlags,
  names: ImageNames,
  questions: NamedRequest[],
) {
  const writers: ((item: Answered) => Promise<void>)[] = [];
  if (path !== undefined) {
    const pathOf = drawingPaths(path, names, questions.length > 1);
    writers.push(async ({ image, raw, drawn }) => {
      for (const [i, result] of drawn.entries())
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
  if (semantic !== undefined) {
    const classes = questions.map(({ text }) => String(text));
    writers.push(async ({ image, results }) => {
      const instances = results.flatMap(result => ('instances' in result ? result.instances : []));
      const map = semanticMap(instances, results[0].imageSize, classes);
      const path = join(semantic, names.get(image)!);
      await writeWhole(`${path}.png`, semanticPng(map));
      await writeWhole(`${path}.npy`, semanticNpy(map));
      await writeWhole(join(semantic, 'classes.json'), Buffer.from(`${JSON.stringify(map.classes)}\n`));
    });
  }
  return writers;
}

export interface RunFlags extends ModelFlags, AnswerFlags {
  task?: string[];
  prompt?: string[];
  text?: string;
  box?: number[];
  classes?: string[];
  minScore?: number;
  orientation?: 'stored' | 'apply';
  json?: boolean;
  draw?: string;
  masks?: string;
  semantic?: string;
  batch: number;
  layout?: LayoutFormat;
  tiles?: number;
  overlap?: number;
}
