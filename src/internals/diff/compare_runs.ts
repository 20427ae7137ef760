import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAdapterConfig } from '../../adapters/read.ts';
import { findAdapter } from '../../checkpoint/find.ts';
import { Florence2Error } from '../../errors.ts';
import { Florence2 } from '../../florence2.ts';
import { checkKind, checkOptions, listOf } from '../../options.ts';
import { openFolder } from '../../platform/node.ts';
import { openSafetensors } from '../../weights/safetensors_file.ts';
import { captureForced } from '../forced_pass.ts';
import { type HookPointShape as Point, pointsOf } from '../hook_points.ts';
import { Question } from '../question.ts';
import { comparable, comparePoint, type Measured, onlyIn, otherShape, passesOver } from './points.ts';
import {
  DIFF_IMAGE,
  DIFF_OPTIONS,
  DIFF_TOLERANCE,
  type DiffImage,
  type DiffOptions,
  type DiffReport,
  type DiffRow,
  type ImageDiff,
  RUN_SPEC,
  type RunAnswer,
  type RunSpec,
} from './report.ts';

/** The recording of one image in run A. */
interface Recorded {
  readonly image: DiffImage;
  readonly points: Point[];
  /** The points of each pass, and the file with their activations. */
  readonly passes: { names: string[]; file: string }[];
  readonly answer: RunAnswer;
}

/**
 * Compares two runs on the same images: the activations at every hook point, in a pass in which both models receive A's
 * greedy answer, and the two models' own answers. Node only.
 *
 * The runs are sequential, so that one model is in memory at a time. The activations of run A are kept in temporary
 * files: 3 GB per image for all points of a model of the size of Florence-2-base.
 *
 * Differences are not errors; see `within` of the report.
 *
 * @param images paths, URLs, or images that are read when their turn comes
 * @throws Florence2Error if a model, an adapter or an image cannot be read
 */
export async function diffRuns(
  a: RunSpec,
  b: RunSpec,
  images: readonly (string | DiffImage)[],
  options: DiffOptions,
): Promise<DiffReport> {
  for (const run of [a, b]) checkOptions('A run', run, RUN_SPEC);
  checkKind('images', images, listOf(DIFF_IMAGE, 'paths, URLs or { name, read }'));
  checkOptions('diffRuns', options, DIFF_OPTIONS);
  const { tolerance = DIFF_TOLERANCE } = options;
  for (const { adapter, adapterRevision: revision } of [a, b]) {
    if (adapter === undefined) continue;
    await readAdapterConfig(openFolder(await findAdapter(adapter, { revision })));
  }
  const folder = await mkdtemp(join(tmpdir(), 'florence2-diff-'));
  try {
    const recorded = await withRun(a, options, async model => {
      const ofImages: Recorded[] = [];
      for (const [i, given] of images.entries()) {
        const image = typeof given === 'string' ? { name: given, read: async () => given } : given;
        ofImages.push(await record(model, image, options, pass => join(folder, `${i}-${pass}.safetensors`)));
      }
      return { ofImages, ranOn: model.backend };
    });
    const compared = await withRun(b, options, async model => {
      const ofImages: ImageDiff[] = [];
      for (const one of recorded.ofImages) {
        ofImages.push(await compare(model, one, options, tolerance));
        options.onImage?.(ofImages.at(-1)!);
        await Promise.all(one.passes.map(({ file }) => rm(file, { force: true })));
      }
      return { ofImages, ranOn: model.backend };
    });
    return {
      a: { ...a, ranOn: recorded.ranOn },
      b: { ...b, ranOn: compared.ranOn },
      tolerance,
      images: compared.ofImages,
      within: compared.ofImages.every(({ rows }) => rows.every(({ departs }) => !departs)),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Loads a run's model and calls `body`. The adapter is not merged into the weights, because merging rounds. */
async function withRun<T>(
  { model: source, adapter, adapterRevision, ...place }: RunSpec,
  { onProgress }: DiffOptions,
  body: (model: Florence2) => Promise<T>,
): Promise<T> {
  const model = await Florence2.load(source, { ...place, onProgress });
  try {
    if (adapter !== undefined) await model.loadAdapter(adapter, { revision: adapterRevision });
    return await body(model);
  } finally {
    model.dispose();
  }
}

async function ask(
  model: Florence2,
  image: DiffImage,
  options: DiffOptions,
  answer?: readonly number[],
): Promise<Question> {
  const { task, text, box, maxNewTokens, orientation, maxPixels, signal } = options;
  return Question.ask(model, await image.read(), task, {
    ...{ text, box, orientation, maxPixels, signal },
    ...(answer ? { answer } : { maxNewTokens }),
  });
}

async function record(
  model: Florence2,
  image: DiffImage,
  options: DiffOptions,
  fileOf: (pass: number) => string,
): Promise<Recorded> {
  const question = await ask(model, image, options);
  try {
    const points = pointsOf(model, question, options.at);
    if (points.length === 0) captureForced(model, question, options.at!).dispose(); // throws an error that suggests a name
    const passes = passesOver(points).map((names, i) => ({ names, file: fileOf(i) }));
    for (const { names, file } of passes) {
      options.signal?.throwIfAborted();
      const cache = captureForced(model, question, names);
      await cache.save(file).finally(() => cache.dispose());
    }
    return { image, points, passes, answer: answerOf(model, question) };
  } finally {
    question.dispose();
  }
}

async function compare(
  model: Florence2,
  recorded: Recorded,
  options: DiffOptions,
  tolerance: number,
): Promise<ImageDiff> {
  const { image, answer } = recorded;
  const own = await ask(model, image, options);
  const ownAnswer = answerOf(model, own);
  const sameAnswer = ownAnswer.ids.join() === answer.ids.join();
  if (!sameAnswer) own.dispose();
  const { vocabSize } = model.config.text;
  if (answer.ids.some(id => id >= vocabSize)) {
    throw new Florence2Error(
      `A's answer for ${image.name} has token ids outside B's vocabulary of ${vocabSize} tokens.`,
    );
  }
  const question = sameAnswer ? own : await ask(model, image, options, answer.ids);
  try {
    const rows = markFirst(await comparePoints(model, question, recorded, options), tolerance);
    return { image: image.name, rows, answers: { a: answer, b: ownAnswer }, sameAnswer };
  } finally {
    question.dispose();
  }
}

function answerOf({ tokenizer }: Florence2, { answerIds }: Question): RunAnswer {
  const text = tokenizer.decode(answerIds).replaceAll(/<\/?s>|<pad>/g, '');
  return { ids: [...answerIds], text };
}

/** Compares all points in A's order, followed by the points that only B has. */
async function comparePoints(
  model: Florence2,
  question: Question,
  { points, passes }: Recorded,
  options: DiffOptions,
): Promise<Measured[]> {
  const ofA = new Map(points.map(point => [point.name, point]));
  const ofB = new Map(pointsOf(model, question, options.at).map(point => [point.name, point]));
  const rows: Measured[] = [];
  for (const { names, file } of passes) {
    options.signal?.throwIfAborted();
    const both = names.filter(name => ofB.has(name) && comparable(ofA.get(name)!, ofB.get(name)!));
    const dump = await openSafetensors(file);
    const cache = both.length > 0 ? captureForced(model, question, both) : undefined;
    try {
      for (const a of names.map(name => ofA.get(name)!)) {
        const b = ofB.get(a.name);
        if (!b) rows.push(onlyIn('A', a));
        else if (!cache?.has(a.name)) rows.push(otherShape(a, b));
        else {
          const { values } = await cache.array(a.name);
          rows.push(comparePoint(a, await dump.readFloat32(a.name), b, values));
        }
      }
    } finally {
      cache?.dispose();
      await dump.close();
    }
  }
  const added = [...ofB.values()].filter(({ name }) => !ofA.has(name));
  return [...rows, ...added.map(point => onlyIn('B', point))];
}

function markFirst(rows: Measured[], tolerance: number): DiffRow[] {
  const departs = rows.map(({ relative }) => !(relative <= tolerance));
  const first = departs.indexOf(true);
  return rows.map((row, i) => ({ ...row, departs: departs[i], firstDeparture: i === first }));
}
