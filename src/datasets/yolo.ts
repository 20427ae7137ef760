import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, extname, isAbsolute, join, sep } from 'node:path';
import { glob } from 'tinyglobby';
import { parse as parseYaml } from 'yaml';
import { Florence2Error, UsageError } from '../errors.ts';
import { readLines } from '../files/lines.ts';
import type { ImageSize } from '../geometry/types.ts';
import { IMAGE_EXTENSIONS } from '../image/format.ts';
import { readImageSize } from '../image/size.ts';
import { isRecord, show } from '../json.ts';
import type { Dataset, TrainingExample } from './example.ts';
import type { ReadOptions } from './jsonl.ts';
import { chooseTasks, type LabelledObject, OBJECT_TASKS, objectTargets } from './objects.ts';
import { noExample, type ProblemHandler, refuseErrors, reporting, type Split } from './reading.ts';
import { checkLabelName } from './targets.ts';

interface YoloImage {
  path: string;
  rows: YoloRow[];
  source: string;
  size?: ImageSize;
}

/**
 * A YOLO folder by its data.yaml: `names` (a list, or a map from numbers), `train`, `val` and `test` (folders of images,
 * lists of paths in .txt files, or several of them), `path` (what they are relative to; else the file's own folder).
 * The labels of `…/images/a.jpg` are in `…/labels/a.txt`: `class cx cy w h`, or `class x y x y x y …` for a polygon, in
 * parts of width and height.
 *
 * Without `tasks` it teaches `<OD>`; see `objectTargets` for the others. An image without a label file, or with an empty
 * one, has no objects and is answered by nothing. Sizes of images are read when an example is.
 *
 * @throws Florence2Error with file and line for what is wrong, unless `onProblem` takes it
 */
export async function readYolo(file: string, options: ReadOptions & { split?: Split } = {}): Promise<Dataset> {
  const { split = 'train', onProblem = refuseErrors } = options;
  const tasks = chooseTasks(options.tasks ?? ['<OD>'], OBJECT_TASKS, file);
  const config = await readYoloConfig(file);
  const names = readNames(config.names, file, onProblem);
  const paths = await findImages(config, file, split);
  const images: YoloImage[] = [];
  for (const path of paths) {
    const labels = labelFile(path);
    const rows = existsSync(labels) ? await readLabels(labels, names, onProblem) : [];
    const source = existsSync(labels) ? labels : path;
    if (
      objectTargets(
        rows.map(row => toObject(row, { width: 1, height: 1 })),
        tasks,
      ).length > 0
    ) {
      images.push({ path, rows, source });
    }
  }
  async function example(index: number): Promise<TrainingExample> {
    const image = images[index] ?? noExample(file, index, images.length);
    image.size ??= await readImageSize(image.path);
    const { path, rows, source, size } = image;
    const objects = rows.map(row => toObject(row, size));
    return { image: path, imageSize: size, targets: objectTargets(objects, tasks), source };
  }
  return { name: `${file} (${split})`, length: images.length, example };
}

/** data.yaml as an object. Throws a Florence2Error that names the file and the line. */
export async function readYoloConfig(file: string): Promise<Record<string, unknown>> {
  let config: unknown;
  try {
    config = parseYaml(await readFile(file, 'utf8'));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new Florence2Error(`${file} does not exist.`);
    throw new Florence2Error(`${file} cannot be read: ${message.split('\n')[0].replace(/:$/, '')}.`);
  }
  if (isRecord(config)) return config;
  throw new Florence2Error(`${file} holds ${show(config)}, expected names, train and val.`);
}

/** The entry of a split: YOLO calls the validation split `val`. */
export const splitEntry = (config: Record<string, unknown>, split: Split): unknown =>
  split === 'valid' ? (config.val ?? config.valid) : config[split];

/** The classes by number; undefined for those that a problem was reported of. */
function readNames(names: unknown, file: string, onProblem: ProblemHandler): ReadonlyMap<number, string | undefined> {
  if (!Array.isArray(names) && !isRecord(names)) {
    throw new Florence2Error(
      `${file}: names is ${show(names)}, expected a list of classes, or a map from their numbers.`,
    );
  }
  return new Map(
    Object.entries(names).map(([number, name]) => [
      Number(number),
      reporting(`${file}: names[${number}]`, onProblem, () => {
        checkLabelName(name);
        return name;
      }),
    ]),
  );
}

async function findImages(config: Record<string, unknown>, file: string, split: Split): Promise<string[]> {
  const entry = splitEntry(config, split);
  const entries = (Array.isArray(entry) ? entry : [entry]).filter(value => value !== undefined && value !== null);
  if (entries.length === 0) throw new Florence2Error(`${file} names no images for ${split}.`);
  const own = dirname(file);
  const given =
    typeof config.path === 'string' ? (isAbsolute(config.path) ? config.path : join(own, config.path)) : own;
  const root = existsSync(given) ? given : own; // `path` is often that of the machine where the set was made
  const found = await Promise.all(
    entries.map(value => {
      if (typeof value !== 'string') throw new Florence2Error(`${file}: ${split} is ${show(entry)}, expected a path.`);
      return listImages(findEntry(value, root, file));
    }),
  );
  return found.flat();
}

/** Roboflow writes `../train/images` for what lies beside data.yaml. */
function findEntry(entry: string, root: string, file: string): string {
  const places = isAbsolute(entry) ? [entry] : [join(root, entry), join(root, entry.replace(/^(\.\.\/)+/, ''))];
  const found = places.find(place => existsSync(place));
  if (found) return found;
  throw new Florence2Error(`${file}: ${entry} does not exist: looked for ${[...new Set(places)].join(' and ')}.`);
}

async function listImages(path: string): Promise<string[]> {
  if (statSync(path).isDirectory()) {
    const names = await glob(`**/*.{${IMAGE_EXTENSIONS.join(',')}}`, { cwd: path, caseSensitiveMatch: false });
    if (names.length === 0) throw new Florence2Error(`${path} has no images.`);
    return names.sort().map(name => join(path, name));
  }
  const paths: string[] = [];
  for await (const { line, text } of readLines(path)) {
    const image = isAbsolute(text) ? text : join(dirname(path), text);
    if (!existsSync(image))
      throw new UsageError(`${path}:${line}: The image ${text} does not exist: looked for ${image}.`);
    paths.push(image);
  }
  return paths;
}

/** An object in parts of the image's width and height. */
export interface YoloRow {
  label: string;
  corners: [x1: number, y1: number, x2: number, y2: number];
  polygon?: number[];
}

/** Where the labels of an image are: the last folder called images becomes labels, the extension .txt. */
export function labelFile(image: string): string {
  const [images, labels] = [`${sep}images${sep}`, `${sep}labels${sep}`];
  const at = image.lastIndexOf(images);
  const path = at < 0 ? image : image.slice(0, at) + labels + image.slice(at + images.length);
  return `${path.slice(0, path.length - extname(path).length)}.txt`;
}

export async function readLabels(
  file: string,
  names: ReadonlyMap<number, string | undefined>,
  onProblem: ProblemHandler,
): Promise<YoloRow[]> {
  const rows: YoloRow[] = [];
  for await (const { line, text } of readLines(file)) {
    const row = reporting(`${file}:${line}`, onProblem, () => readLabel(text, names));
    if (row) rows.push(row);
  }
  return rows;
}

/** Rounding in the tools that write these files puts numbers a little outside of the image. */
const TOLERANCE = 0.01;

/** Undefined for a class whose name a problem was reported of. */
function readLabel(text: string, names: ReadonlyMap<number, string | undefined>): YoloRow | undefined {
  const [number, ...values] = text.split(/\s+/).map(Number);
  if (!names.has(number)) throw new UsageError(`The class of ${show(text)} is not among the ${names.size} names.`);
  const outside = values.find(value => !(value >= -TOLERANCE && value <= 1 + TOLERANCE));
  if (outside !== undefined) {
    throw new UsageError(`${outside} is no part of the image's width or height, 0 to 1. Are these pixels?`);
  }
  const label = names.get(number);
  if (values.length === 4) {
    const [cx, cy, w, h] = values;
    if (w < 0 || h < 0) throw new UsageError(`The box ${values.join(' ')} has a negative width or height.`);
    const corners: YoloRow['corners'] = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2];
    return label === undefined ? undefined : { label, corners };
  }
  if (values.length < 6 || values.length % 2 !== 0) {
    throw new UsageError(
      `The line has ${values.length + 1} numbers, expected class cx cy w h, or class and x y of at least three points.`,
    );
  }
  const [xs, ys] = [0, 1].map(axis => values.filter((_, i) => i % 2 === axis));
  const corners: YoloRow['corners'] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  return label === undefined ? undefined : { label, corners, polygon: values };
}

export function toObject({ label, corners, polygon }: YoloRow, image: ImageSize): LabelledObject {
  const pixels = (values: readonly number[]): number[] =>
    values.map((value, i) => value * (i % 2 === 0 ? image.width : image.height));
  const [x1, y1, x2, y2] = pixels(corners);
  return { label, box: [x1, y1, x2, y2], ...(polygon && { polygons: [pixels(polygon)] }) };
}
