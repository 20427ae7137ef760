import { existsSync, statSync } from 'node:fs';
import { dirname, extname, isAbsolute, join, sep } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { Florence2Error, UsageError } from '../errors.ts';
import { readLines } from '../files/lines.ts';
import { readTextFile } from '../files/whole_file.ts';
import type { ImageSize } from '../geometry/types.ts';
import { readImageSize } from '../image/decode.ts';
import { isRecord } from '../json.ts';
import { show } from '../show.ts';
import { noExample } from './collect.ts';
import type { Dataset, Target, TrainingExample } from './example.ts';
import { imagesInFolder } from './find_images.ts';
import { chooseTasks, type LabelledObject, OBJECT_TASKS, type ObjectTask, objectTargets } from './objects.ts';
import { type ProblemHandler, type ReadOptions, reporting, type Split, throwErrors } from './reading.ts';
import { checkLabelName } from './targets.ts';

interface YoloImage {
  path: string;
  objects: YoloObject[];
  source: string;
  /** Undefined until the example is read. */
  size?: ImageSize;
}

/** A row of a label file: an object, with coordinates as fractions of the image's width and height. */
interface YoloObject {
  label: string;
  corners: [x1: number, y1: number, x2: number, y2: number];
  polygon?: number[];
}

/** Class names by number; undefined for names that a problem was reported for. */
type ClassNames = ReadonlyMap<number, string | undefined>;

/**
 * Reads a YOLO dataset from its data.yaml: `names` (a list, or a map from numbers), `train`, `val` and `test` (each a
 * folder of images, a .txt file with paths, or a list of these) and `path` (the folder that they are relative to;
 * default: the folder of data.yaml). The labels of `…/images/a.jpg` are in `…/labels/a.txt`: `class cx cy w h` for a
 * box or `class x y x y x y …` for a polygon, as fractions of width and height.
 *
 * By default the objects teach `<OD>`; `objectTargets` describes the other tasks. An image without a label file, or
 * with an empty one, has no objects, and its answer is empty. The size of an image is read with its example.
 *
 * @throws Florence2Error that names the file and line of the invalid entry, unless `onProblem` is given
 */
export async function readYolo(file: string, options: ReadOptions & { split?: Split } = {}): Promise<Dataset> {
  const { split = 'train', onProblem = throwErrors } = options;
  const tasks = chooseTasks(options.tasks ?? ['<OD>'], OBJECT_TASKS, file);
  const config = await readYoloConfig(file);
  const names = readNames(config.names, file, onProblem);
  const images: YoloImage[] = [];
  for (const path of await findImages(config, file, split)) {
    const labels = labelFile(path);
    const objects = existsSync(labels) ? await readLabels(labels, names, onProblem) : [];
    const source = existsSync(labels) ? labels : path;
    if (targetsOf(objects, { width: 1, height: 1 }, tasks).length > 0) images.push({ path, objects, source });
  }
  async function example(index: number): Promise<TrainingExample> {
    const image = images[index] ?? noExample(file, index, images.length);
    image.size ??= await readImageSize(image.path);
    const { path, objects, source, size } = image;
    return { image: path, imageSize: size, targets: targetsOf(objects, size, tasks), source };
  }
  return { name: `${file} (${split})`, length: images.length, example };
}

/** Returns data.yaml as an object. @throws Florence2Error that names the file, and the line of a syntax error */
export async function readYoloConfig(file: string): Promise<Record<string, unknown>> {
  const text = await readTextFile(file);
  let config: unknown;
  try {
    config = parseYaml(text, { logLevel: 'error' });
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    throw new Florence2Error(`${file} cannot be read: ${reason.replace(/:$/, '')}.`, { cause: error });
  }
  if (isRecord(config)) return config;
  throw new Florence2Error(`${file} is ${show(config)}, expected an object with names, train and val.`);
}

/** Returns the entry of a split; YOLO's name of the validation split is `val`. */
export const splitEntry = (config: Record<string, unknown>, split: Split): unknown =>
  split === 'valid' ? (config.val ?? config.valid) : config[split];

function readNames(names: unknown, file: string, onProblem: ProblemHandler): ClassNames {
  if (!Array.isArray(names) && !isRecord(names)) {
    throw new Florence2Error(
      `${file}: names is ${show(names)}, expected a list of class names, or a map from numbers to names.`,
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
  const root = existsSync(given) ? given : own; // `path` is often a path of the machine on which the dataset was created
  const found = await Promise.all(
    entries.map(value => {
      if (typeof value !== 'string') throw new Florence2Error(`${file}: ${split} is ${show(entry)}, expected a path.`);
      return listImages(findEntry(value, root, file));
    }),
  );
  return found.flat();
}

/** Resolves an entry of data.yaml. Roboflow writes `../train/images` for a folder next to data.yaml. */
function findEntry(entry: string, root: string, file: string): string {
  const places = isAbsolute(entry) ? [entry] : [join(root, entry), join(root, entry.replace(/^(\.\.\/)+/, ''))];
  const found = places.find(place => existsSync(place));
  if (found) return found;
  throw new Florence2Error(`${file}: ${entry} does not exist: looked for ${[...new Set(places)].join(' and ')}.`);
}

async function listImages(path: string): Promise<string[]> {
  if (statSync(path).isDirectory()) {
    const images = await imagesInFolder(path);
    if (images.length === 0) throw new Florence2Error(`${path} has no images.`);
    return images;
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

/** Returns the label file of an image: the last folder `images` in its path becomes `labels`, the extension `.txt`. */
function labelFile(image: string): string {
  const [images, labels] = [`${sep}images${sep}`, `${sep}labels${sep}`];
  const at = image.lastIndexOf(images);
  const path = at < 0 ? image : image.slice(0, at) + labels + image.slice(at + images.length);
  return `${path.slice(0, path.length - extname(path).length)}.txt`;
}

async function readLabels(file: string, names: ClassNames, onProblem: ProblemHandler): Promise<YoloObject[]> {
  const objects: YoloObject[] = [];
  for await (const { line, text } of readLines(file)) {
    const object = reporting(`${file}:${line}`, onProblem, () => readLabel(text, names));
    if (object) objects.push(object);
  }
  return objects;
}

/** The tools that write these files round numbers, which may end slightly outside the image. */
const TOLERANCE = 0.01;

/** Returns undefined for a class whose name a problem was reported for. */
function readLabel(text: string, names: ClassNames): YoloObject | undefined {
  const [number, ...values] = text.split(/\s+/).map(Number);
  if (!names.has(number)) throw new UsageError(`The class of ${show(text)} is not among the ${names.size} names.`);
  const outside = values.find(value => !(value >= -TOLERANCE && value <= 1 + TOLERANCE));
  if (outside !== undefined) {
    throw new UsageError(`${outside} is not a fraction of the image's width or height, 0 to 1. Are these pixels?`);
  }
  const label = names.get(number);
  if (values.length === 4) {
    const [cx, cy, w, h] = values;
    if (w < 0 || h < 0) throw new UsageError(`The box ${values.join(' ')} has a negative width or height.`);
    const corners: YoloObject['corners'] = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2];
    return label === undefined ? undefined : { label, corners };
  }
  if (values.length < 6 || values.length % 2 !== 0) {
    throw new UsageError(
      `The line has ${values.length + 1} numbers, expected class cx cy w h, or class and x y of at least three points.`,
    );
  }
  const [xs, ys] = [0, 1].map(axis => values.filter((_, i) => i % 2 === axis));
  const corners: YoloObject['corners'] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  return label === undefined ? undefined : { label, corners, polygon: values };
}

function targetsOf(objects: readonly YoloObject[], image: ImageSize, tasks: readonly ObjectTask[]): Target[] {
  return objectTargets(
    objects.map(object => inPixels(object, image)),
    tasks,
  );
}

function inPixels({ label, corners, polygon }: YoloObject, image: ImageSize): LabelledObject {
  const scaled = (values: readonly number[]): number[] =>
    values.map((value, i) => value * (i % 2 === 0 ? image.width : image.height));
  const [x1, y1, x2, y2] = scaled(corners);
  return { label, box: [x1, y1, x2, y2], ...(polygon && { polygons: [scaled(polygon)] }) };
}
