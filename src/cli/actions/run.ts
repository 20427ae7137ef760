import { Florence2Error } from '../../errors.ts';
import type { Florence2 } from '../../florence2.ts';
import { type ExifOrientation, uprightBox } from '../../geometry/orientation.ts';
import { decodeForModel } from '../../image/decode.ts';
import type { RawImage } from '../../image/types.ts';
import type { RunOptions } from '../../requests.ts';
import { filterByLabel, filterByScore } from '../../results/filter.ts';
import type { TextPage } from '../../results/layout/documents.ts';
import { turnResult } from '../../results/turn.ts';
import type { TaskResult } from '../../results/types.ts';
import { skipErrors } from '../../skip_errors.ts';
import { runTiled } from '../../tiling/run_tiled.ts';
import { type AnswerFlags, answerOptions } from '../answer_options.ts';
import { describe, interruptSignal, reportFailures } from '../exit.ts';
import { findInputs, type InputImage } from '../inputs.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { type ImageFlags, imageOptions } from '../options.ts';
import { drawingPaths } from '../outputs.ts';
import type { PdfFlags } from '../pdf_pages.ts';
import { checkLayout, type LayoutFormat, layoutDocument, pageOf } from '../print/layout.ts';
import { roundedCoordinates } from '../print/numbers.ts';
import { resultLines } from '../print/result.ts';
import { nameOnOneLine, print, printProblem } from '../print/terminal.ts';
import { ProgressBars } from '../progress.ts';
import { type Answered, writeClasses, writeDrawings, writeMap, writeMasks } from '../run/pictures.ts';
import { type NamedRequest, type RunQuestionFlags, readQuestions, withLabels } from '../run/questions.ts';

/** An image as the model reads it. */
interface ReadImage {
  input: InputImage;
  raw: RawImage;
  /** The EXIF orientation that was applied. */
  turned: ExifOrientation;
}

/**
 * Runs all questions on all images, prints the results and writes the pictures. An image that fails is reported, and the
 * run continues with the others; its exit code is then 1.
 */
export async function runTasks(args: string[], flags: RunFlags): Promise<void> {
  const { layout, semantic, masks } = flags;
  const questions = readQuestions(flags);
  const inputs = await findInputs(args, flags);
  const [tasks, names] = [questions.map(({ task }) => task), questions.map(({ name }) => name)];
  if (layout) checkLayout(layout, tasks, inputs.length);
  const drawingsOf = flags.draw === undefined ? () => [] : drawingPaths(flags.draw, inputs.length, names);
  const pages: TextPage[] = [];
  const signal = interruptSignal();
  const model = await loadModel(flags);
  const bars = new ProgressBars();
  let failed = 0;
  try {
    if (semantic !== undefined) await writeClasses(semantic, questions);
    for (let first = 0; first < inputs.length; first += flags.batch) {
      signal.throwIfAborted();
      if (inputs.length > 1) bars.show('Images', first, inputs.length, 'images');
      const batch = inputs.slice(first, first + flags.batch);
      const answered = await skipErrors(batch, some => answer(model, some, questions, flags, signal));
      bars.stop();
      for (const [i, item] of answered.entries()) {
        if (item instanceof Florence2Error) {
          failed++;
          printFailure(batch[i], item, flags);
          continue;
        }
        const complete: Answered = { ...item, drawings: drawingsOf(item.input.output) };
        if (layout) pages.push(pageOf(item.input.name, item.results[0]));
        else printResults(complete, flags, inputs.length > 1);
        await writeDrawings(complete);
        if (masks !== undefined) await writeMasks(masks, complete, questions);
        if (semantic !== undefined) await writeMap(semantic, complete, questions);
      }
    }
    reportFailures(failed, inputs.length);
    if (layout) process.stdout.write(layoutDocument(pages, layout));
  } finally {
    bars.stop();
    model.dispose();
  }
}

/** Prints the error of an image to stderr and, with --json, in the place of its result. */
function printFailure({ name }: InputImage, error: unknown, { json }: RunFlags): void {
  const message = describe(error);
  printProblem(message);
  if (json) print(JSON.stringify({ image: name, error: message }));
}

/** Prints the results of an image: JSON Lines, or text with headings if there are several images or tasks. */
function printResults({ input, results, drawings }: Answered, { json }: RunFlags, severalImages: boolean): void {
  for (const [i, result] of results.entries()) {
    if (json) {
      const drawing = drawings.length > 0 ? { drawing: drawings[i] } : {};
      print(JSON.stringify({ image: input.name, ...result, ...drawing }, roundedCoordinates));
      continue;
    }
    const question = result.task === 'prompt' ? result.prompt : result.task;
    const heading = [severalImages && nameOnOneLine(input.name), results.length > 1 && question]
      .filter(Boolean)
      .join('  ');
    const indent = heading ? '  ' : '';
    const lines = resultLines(result).map(line => indent + line);
    print(...(heading ? [heading] : []), ...lines);
  }
}

/** Decodes the images, encodes each once, or each of its tiles, and runs every question on the whole batch. */
async function answer(
  model: Florence2,
  inputs: readonly InputImage[],
  questions: NamedRequest[],
  flags: RunFlags,
  signal: AbortSignal,
): Promise<Omit<Answered, 'drawings'>[]> {
  const batch: ReadImage[] = await Promise.all(
    inputs.map(async input => {
      const { image: raw, turned } = await decodeForModel(await input.read(), imageOptions(flags));
      return { input, raw, turned };
    }),
  );
  const { constrain, classes } = flags;
  const options = { ...answerOptions(flags), signal, ...(constrain && classes && { constrain: { classes } }) };
  const results = await (flags.tiles === undefined
    ? wholeAnswers(model, batch, questions, options)
    : tiledAnswers(model, batch, questions, flags, options));
  return batch.map(({ input, raw, turned }, i) => {
    const drawn = withLabels(results[i], questions).map(result => filtered(result, flags));
    return { input, raw, drawn, results: drawn.map(result => turnResult(result, turned)) };
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

export interface RunFlags extends ModelFlags, ImageFlags, AnswerFlags, RunQuestionFlags, PdfFlags {
  minScore?: number;
  json?: boolean;
  draw?: string;
  masks?: string;
  batch: number;
  layout?: LayoutFormat;
}
