import { existsSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, extname, isAbsolute, join, sep } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { Florence2Error } from '../../errors.ts';
import { readLines } from '../../files/lines.ts';
import { readTextFile } from '../../files/whole_file.ts';
import { isRecord } from '../../json.ts';
import { show } from '../../show.ts';
import { imagesInFolder } from '../find_images.ts';
import { newImage, type ProblemHandler, type ReadContext, type ReadSet, reporting, type Split } from '../reading.ts';
import { checkLabelName } from '../targets.ts';
import { type ClassNames, readLabels } from './yolo_labels.ts';

/**
 * Reads a YOLO dataset from its data.yaml: `names` (a list, or a map from numbers), `train`, `val` and `test` (each a
 * folder of images, a .txt file with paths, or a list of these) and `path` (the folder that they are relative to;
 * default: the folder of data.yaml). The labels of `…/images/a.jpg` are in `…/labels/a.txt`, see `readLabels`.
 *
 * An image without a label file, or with an empty one, has no objects.
 *
 * @throws Florence2Error that names the file and line of the invalid entry, unless the context handles problems
 */
export async function readYolo(file: string, context: ReadContext): Promise<ReadSet> {
  const { split = 'train', onProblem, format } = context;
  const config = await readYoloConfig(file);
  const names = readNames(config.names, file, onProblem);
  checkConfig(config, file, onProblem);
  const read: ReadSet = {
    ...{ name: `${file} (${split})`, format: format ?? 'yolo', images: [], subjects: ['objects'] },
    ...{ labels: [...names.values()].filter(name => name !== undefined), frame: 'upright', fractions: true },
  };
  const { images, folders } = await findImages(config, file, split, context);
  const finder = context.images.within(...folders);
  const stems = new Map<string, string>();
  let labelled = 0;
  for (const path of images) {
    const labels = labelFile(path);
    const hasLabels = existsSync(labels);
    const image = newImage(path, finder.nameOf(path), hasLabels ? labels : path);
    const other = stems.get(labels);
    if (other !== undefined) {
      const message = `The labels ${labels} belong to two images: ${basename(other)} and ${basename(path)}.`;
      onProblem({ severity: 'warning', source: path, message });
    }
    stems.set(labels, path);
    if (hasLabels) {
      labelled++;
      await readLabels(labels, image, { names, ...context });
    }
    read.images.push(image);
  }
  if (images.length > 0 && labelled === 0) {
    const message = `No image has a label file: looked for ${labelFile(images[0])}.`;
    onProblem({ severity: 'warning', source: file, message });
  }
  await findOrphans(stems, images, onProblem);
  return read;
}

/** Returns data.yaml as an object. @throws Florence2Error that names the file, and the line of a syntax error */
export async function readYoloConfig(file: string): Promise<Record<string, unknown>> {
  const text = await readTextFile(file);
  let config: unknown;
  try {
    config = parseYaml(text, { logLevel: 'error', maxAliasCount: 100 });
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    throw new Florence2Error(`${file} cannot be read: ${reason.replace(/:$/, '')}.`, { cause: error });
  }
  if (isRecord(config)) return config;
  throw new Florence2Error(`${file} is ${show(config)}, expected an object with names, train and val.`);
}

/** Returns the entry of a split; YOLO's name of the validation split is `val`. */
const splitEntry = (config: Record<string, unknown>, split: Split): unknown =>
  split === 'valid' ? (config.val ?? config.valid) : config[split];

/** Whether data.yaml names images of a split that exist. Roboflow names a test split that a download may lack. */
export async function hasYoloSplit(file: string, split: Split): Promise<boolean> {
  const entry = splitEntry(await readYoloConfig(file), split) ?? [];
  const own = dirname(file);
  const exists = (value: unknown): boolean => {
    const path = String(value).replaceAll('\\', '/');
    return [path, join(own, path), join(own, path.replace(/^(\.\.\/)+/, ''))].some(place => existsSync(place));
  };
  return [entry].flat().some(exists);
}

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
        if (typeof name === 'number' || typeof name === 'boolean') {
          const message = `names has ${show(name)} without quotes, which YAML does not read as a text: "${name}" is used.`;
          onProblem({ severity: 'warning', source: `${file}: names[${number}]`, message });
          return String(name);
        }
        checkLabelName(name);
        return name;
      }),
    ]),
  );
}

function checkConfig({ nc, names, kpt_shape }: Record<string, unknown>, file: string, onProblem: ProblemHandler): void {
  const count = Object.keys(names as object).length;
  if (typeof nc === 'number' && nc !== count) {
    onProblem({ severity: 'warning', source: file, message: `nc is ${nc}, but there are ${count} names.` });
  }
  if (kpt_shape !== undefined) {
    const message = 'kpt_shape says that the labels have key points (pose), which are not read.';
    onProblem({ severity: 'error', source: file, message });
  }
}

/** Returns the images of a split, and the folders that they were found in. */
async function findImages(
  config: Record<string, unknown>,
  file: string,
  split: Split,
  { onProblem, images }: ReadContext,
): Promise<{ images: string[]; folders: string[] }> {
  const entry = splitEntry(config, split);
  const entries = (Array.isArray(entry) ? entry : [entry]).filter(value => value !== undefined && value !== null);
  if (entries.length === 0) throw new Florence2Error(`${file} names no images for ${split}.`);
  const own = dirname(file);
  const path = typeof config.path === 'string' ? config.path.replaceAll('\\', '/') : '.';
  const given = isAbsolute(path) ? path : join(own, path);
  const isHere = existsSync(given) && images.allows(given);
  if (!isHere && !own.endsWith(basename(path))) {
    const why = existsSync(given) ? 'lies outside the dataset (--image-root allows it)' : 'does not exist here';
    const message = `path is ${path}, which ${why}: ${own} is used.`;
    onProblem({ severity: 'warning', source: file, message });
  }
  const root = isHere ? given : own;
  const folders: string[] = [];
  const found: string[] = [];
  for (const value of entries) {
    if (typeof value !== 'string') throw new Florence2Error(`${file}: ${split} is ${show(entry)}, expected a path.`);
    const place = findEntry(value.replaceAll('\\', '/'), root, file, images.allows);
    folders.push(statSync(place).isDirectory() ? place : dirname(place));
    found.push(...(await listImages(place, { onProblem, images })));
  }
  return { images: found, folders };
}

/** Resolves an entry of data.yaml. Roboflow writes `../train/images` for a folder next to data.yaml. */
function findEntry(entry: string, root: string, file: string, allows: (path: string) => boolean): string {
  const inside = entry.replace(/^(\.\.\/)+/, '');
  const places = isAbsolute(entry) ? [entry] : [join(root, entry), join(root, inside), join(dirname(file), inside)];
  const allowed = places.filter(allows);
  const found = allowed.find(place => existsSync(place));
  if (found) return found;
  if (allowed.length === 0) {
    throw new Florence2Error(`${file}: ${entry} lies outside the dataset's folder: allow its folder by --image-root.`);
  }
  throw new Florence2Error(`${file}: ${entry} does not exist: looked for ${[...new Set(allowed)].join(' and ')}.`);
}

async function listImages(path: string, { onProblem, images }: Pick<ReadContext, 'onProblem' | 'images'>) {
  if (statSync(path).isDirectory()) {
    const found = await imagesInFolder(path);
    if (found.length === 0) throw new Florence2Error(`${path} has no images.`);
    return found;
  }
  const finder = images.within(dirname(path), join(dirname(path), 'images'));
  const paths: string[] = [];
  for await (const { line, text } of readLines(path)) {
    const image = reporting(`${path}:${line}`, onProblem, () => finder.find(text));
    if (image) paths.push(image);
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

/** Warns of label files without an image, in the folders of labels. */
async function findOrphans(stems: Map<string, string>, images: string[], onProblem: ProblemHandler): Promise<void> {
  const folders = new Set([...stems.keys()].filter(path => path.includes(`${sep}labels${sep}`)).map(dirname));
  const shown = new Set(images.map(labelFile));
  for (const folder of folders) {
    for (const name of await readdir(folder).catch(() => [])) {
      const path = join(folder, name);
      if (!name.endsWith('.txt') || shown.has(path)) continue;
      onProblem({ severity: 'warning', source: path, message: 'There is no image for these labels.' });
    }
  }
}
