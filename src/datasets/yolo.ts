import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { glob } from 'tinyglobby';
import { parse as parseYaml } from 'yaml';
import { Florence2Error, UsageError } from '../errors.ts';
import { readLines } from '../files/lines.ts';
import { IMAGE_EXTENSIONS } from '../image/format.ts';
import { readImageSize } from '../image/size.ts';
import { isRecord, show } from '../json.ts';
import type { ImageSize } from '../text/locations.ts';
import { type ProblemHandler, refuseErrors, reporting } from '../training/data/problems.ts';
import type { Split } from '../training/data/splits.ts';
import { labelFile, readLabels, toObject, type YoloRow } from '../training/data/yolo_labels.ts';
import type { Dataset, TrainingExample } from './example.ts';
import type { ReadOptions } from './jsonl.ts';
import { chooseTasks, OBJECT_TASKS, objectTargets } from './objects.ts';
import { noExample } from './reading.ts';
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
