import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Florence2Error, UsageError } from '../errors.ts';
import { readTextFile } from '../files/whole_file.ts';
import { maskOutlines } from '../geometry/outlines.ts';
import { decodeRle, decompressCounts, type RunLengths } from '../geometry/rle.ts';
import type { BoxCoordinates, ImageSize, Polygon } from '../geometry/types.ts';
import { isRecord, parseJsonObject } from '../json.ts';
import { show } from '../show.ts';
import { ExampleList } from './collect.ts';
import type { Dataset, Target } from './example.ts';
import { ImageFolder } from './find_images.ts';
import { CAPTION_TASKS, chooseTasks, type LabelledObject, OBJECT_TASKS, objectTargets } from './objects.ts';
import { type ProblemHandler, type ReadOptions, reporting, throwErrors } from './reading.ts';
import { checkLabelName, checkTarget } from './targets.ts';

/** Options of `readCoco`. */
export interface CocoOptions extends ReadOptions {
  /** The folder of the images. Default: the file's folder, its subfolder `images`, or COCO's layout (`../val2017`). */
  images?: string;
}

interface CocoImage {
  path: string;
  size?: ImageSize;
  source: string;
  objects: LabelledObject[];
  captions: string[];
}

/** A file whose images and categories are read. */
interface CocoFile {
  /** By id; null for images that a problem was reported for. */
  images: Map<unknown, CocoImage | null>;
  /** Labels by category id; null for categories that a problem was reported for. */
  labels: Map<unknown, string | null>;
  captions: boolean;
  /** Whether a task needs the objects' outlines. */
  outlines: boolean;
}

/**
 * Reads a COCO file of objects (`instances`, Roboflow's `_annotations.coco.json`) or of captions. By default objects
 * teach `<OD>` and captions `<CAPTION>`; `objectTargets` describes the other tasks. The answer for an image without
 * objects is empty. Crowd annotations are skipped, with a warning.
 *
 * If a task needs outlines, polygons are used unchanged, and run lengths become the outlines of their masks, with holes
 * filled.
 *
 * @throws Florence2Error that names the file and the invalid entry, unless `onProblem` is given
 */
export async function readCoco(file: string, options: CocoOptions = {}): Promise<Dataset> {
  const { onProblem = throwErrors } = options;
  const json = parseJsonObject(await readTextFile(file), file);
  const annotations = list(json, 'annotations', file);
  const captions = annotations.some(annotation => isRecord(annotation) && annotation.caption !== undefined);
  const captionTasks = captions ? chooseTasks(options.tasks ?? ['<CAPTION>'], CAPTION_TASKS, file) : [];
  const objectTasks = captions ? [] : chooseTasks(options.tasks ?? ['<OD>'], OBJECT_TASKS, file);
  const outlines = objectTasks.some(task => task.endsWith('_SEGMENTATION>'));
  const images = readImages(json, file, options, onProblem);
  const labels = captions ? new Map() : readCategories(json, file, onProblem);
  addAnnotations({ images, labels, captions, outlines }, annotations, file, onProblem);

  const examples = new ExampleList();
  for (const image of images.values()) {
    if (!image) continue;
    const captioned = captionTasks.flatMap(task => image.captions.map((text): Target => ({ task, answer: { text } })));
    examples.add(image.path, [...captioned, ...objectTargets(image.objects, objectTasks)], image.source, image.size);
  }
  return examples.dataset(file);
}

function readImages(
  json: Record<string, unknown>,
  file: string,
  options: CocoOptions,
  onProblem: ProblemHandler,
): CocoFile['images'] {
  const entries = list(json, 'images', file);
  const folder = new ImageFolder(options.images ?? findFolder(file, entries[0]));
  const images: CocoFile['images'] = new Map();
  for (const [i, entry] of entries.entries()) {
    const source = `${file}: images[${i}]`;
    reporting(source, onProblem, () => {
      const { id, file_name, width, height } = record(entry);
      if (images.has(id)) throw new UsageError(`id ${show(id)} is also the id of another image.`);
      images.set(id, null);
      if (typeof file_name !== 'string') throw new UsageError(`file_name is ${show(file_name)}, expected a path.`);
      const size = isPositive(width) && isPositive(height) ? { width, height } : undefined;
      images.set(id, { path: folder.find(file_name), size, source, objects: [], captions: [] });
    });
  }
  return images;
}

/**
 * Returns the first usual folder that has the first image. COCO's own layout is `annotations/instances_val2017.json`.
 */
function findFolder(file: string, first: unknown): string {
  const folder = dirname(file);
  const name = isRecord(first) ? first.file_name : undefined;
  const set = /([^_]+)\.json$/.exec(basename(file))?.[1] ?? '';
  const places = ['', 'images', join('..', set), join('..', 'images', set), join('..', 'images')];
  return places.map(place => join(folder, place)).find(place => existsSync(join(place, String(name)))) ?? folder;
}

function readCategories(json: Record<string, unknown>, file: string, onProblem: ProblemHandler): CocoFile['labels'] {
  const labels: CocoFile['labels'] = new Map();
  for (const [i, entry] of list(json, 'categories', file).entries()) {
    reporting(`${file}: categories[${i}]`, onProblem, () => {
      const { id, name } = record(entry);
      if (labels.has(id)) throw new UsageError(`id ${show(id)} is also the id of another category.`);
      labels.set(id, null);
      checkLabelName(name);
      labels.set(id, name);
    });
  }
  return labels;
}

/** Adds each object or caption to its image. */
function addAnnotations(coco: CocoFile, annotations: unknown[], file: string, onProblem: ProblemHandler): void {
  let crowds = 0;
  for (const [i, entry] of annotations.entries()) {
    const source = `${file}: annotations[${i}]`;
    reporting(source, onProblem, () => {
      const annotation = record(entry);
      const image = coco.images.get(annotation.image_id);
      if (image === undefined) throw unknownId('image_id', annotation, 'images');
      if (image === null) return; // already reported
      if (annotation.iscrowd === 1) crowds++;
      else if (coco.captions) image.captions.push(readCaption(annotation));
      else {
        const warn = (message: string): void => onProblem({ severity: 'warning', source, message });
        const object = readObject(annotation, coco, image, warn);
        if (object) image.objects.push(object);
      }
    });
  }
  if (crowds === 0) return;
  const message = `${crowds} crowd annotations are skipped: they do not outline a single object.`;
  onProblem({ severity: 'warning', source: file, message });
}

function readCaption(annotation: Record<string, unknown>): string {
  const text = annotation.caption as string;
  checkTarget({ task: '<CAPTION>', answer: { text } });
  return text;
}

/** Returns undefined for a category that a problem was reported for. */
function readObject(
  annotation: Record<string, unknown>,
  { labels, outlines }: CocoFile,
  { size }: CocoImage,
  warn: (message: string) => void,
): LabelledObject | undefined {
  const label = labels.get(annotation.category_id);
  if (label === undefined) throw unknownId('category_id', annotation, 'categories');
  const polygons = outlines ? cocoPolygons(annotation.segmentation, size, warn) : undefined;
  return label === null ? undefined : { label, box: readBox(annotation.bbox), ...(polygons && { polygons }) };
}

const unknownId = (field: string, annotation: Record<string, unknown>, where: string): UsageError =>
  new UsageError(`${field} ${show(annotation[field])} is not among the ${where}.`);

function readBox(bbox: unknown): BoxCoordinates {
  if (!Array.isArray(bbox) || bbox.length !== 4 || !bbox.every(Number.isFinite)) {
    throw new UsageError(`bbox is ${show(bbox)}, expected x, y, width and height.`);
  }
  const [x, y, width, height] = bbox as number[];
  if (width < 0 || height < 0) throw new UsageError(`bbox is ${show(bbox)}: its width or height is negative.`);
  return [x, y, x + width, y + height];
}

/**
 * Returns the outline of an object from its polygons, or from run lengths (a list of numbers, or COCO's compressed
 * string), whose mask is traced. Polygons with fewer than three points are skipped, with a warning.
 */
export function cocoPolygons(
  segmentation: unknown,
  image: ImageSize | undefined,
  warn: (message: string) => void,
): Polygon[] {
  if (segmentation === undefined || segmentation === null) return [];
  if (isRecord(segmentation)) return maskOutlines(decodeRle(readRuns(segmentation, image)));
  if (!Array.isArray(segmentation)) {
    throw new UsageError(`segmentation is ${show(segmentation)}, expected polygons or run lengths.`);
  }
  return segmentation.filter((polygon, i): polygon is Polygon => {
    if (!Array.isArray(polygon) || !polygon.every(Number.isFinite)) {
      throw new UsageError(`segmentation[${i}] is ${show(polygon)}, expected x, y, x, y, ….`);
    }
    const whole = polygon.length >= 6 && polygon.length % 2 === 0;
    if (!whole)
      warn(`segmentation[${i}] of ${polygon.length} numbers is skipped: a polygon has at least three points.`);
    return whole;
  });
}

function readRuns({ size, counts }: Record<string, unknown>, image: ImageSize | undefined): RunLengths {
  const isSize = Array.isArray(size) && size.length === 2 && size.every(n => Number.isSafeInteger(n) && n > 0);
  if (!isSize) throw new UsageError(`segmentation.size is ${show(size)}, expected height and width.`);
  const [height, width] = size as [number, number];
  if (image && (image.width !== width || image.height !== height)) {
    throw new UsageError(
      `segmentation is a mask of ${width}x${height} pixels, but the image is ${image.width}x${image.height}.`,
    );
  }
  const runs = typeof counts === 'string' ? decompressCounts(counts) : counts;
  if (!Array.isArray(runs) || !runs.every(n => Number.isSafeInteger(n) && n >= 0)) {
    throw new UsageError(`segmentation.counts is ${show(counts)}, expected run lengths.`);
  }
  return { size: [height, width], counts: runs as number[] };
}

function list(json: Record<string, unknown>, field: string, file: string): unknown[] {
  const value = json[field];
  if (Array.isArray(value)) return value;
  throw new Florence2Error(
    `${file} has no list of ${field}: a COCO file has images, annotations and, for objects, categories.`,
  );
}

function record(value: unknown): Record<string, unknown> {
  if (isRecord(value)) return value;
  throw new UsageError(`It is ${show(value)}, expected an object.`);
}

const isPositive = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;
