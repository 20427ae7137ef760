import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { checkRuns, decompressCounts, type RunLengths } from '../../geometry/rle.ts';
import type { BoxCoordinates, ImageSize, Polygon } from '../../geometry/types.ts';
import { isRecord } from '../../json.ts';
import { show } from '../../show.ts';
import type { LabelledObject } from '../annotation.ts';
import {
  addObject,
  newImage,
  type ProblemHandler,
  type ReadContext,
  type ReadImage,
  type ReadSet,
  record,
  reporting,
} from '../reading.ts';
import { checkLabelName, checkTarget } from '../targets.ts';
import { readJsonItems } from './json_items.ts';

/** A file whose images and categories are read. Ids are compared as texts: some tools write numbers as texts. */
interface CocoFile {
  file: string;
  /** Null for images that a problem was reported for. */
  images: Map<string, { id: unknown; image: ReadImage | null }>;
  /** Labels by category id; null for categories that a problem was reported for. */
  labels: Map<string, { id: unknown; label: string | null }>;
  captions: boolean;
  context: ReadContext;
}

/**
 * Reads a COCO file of objects (`instances`, Roboflow's `_annotations.coco.json`) or of captions. Segmentations are read
 * as they are: polygons, or run lengths as masks.
 *
 * An object with `iscrowd: 1` is a crowd if another object of the file has a segmentation and `iscrowd: 0`. Otherwise it
 * is a single object: CVAT and Datumaro mark every mask so. The option `crowds` decides either.
 *
 * @throws Florence2Error that names the file and the invalid entry, unless the context handles problems
 */
export async function readCoco(file: string, context: ReadContext): Promise<ReadSet> {
  const [entries, categories]: unknown[][] = [[], []];
  const seen: Seen = { categories: new Set(), captions: false, outlines: false };
  const json = await readJsonItems(file, { images: '[', annotations: '[', categories: '[' }, (item, _, field) => {
    if (field === 'categories') categories.push(item);
    else if (field === 'annotations') context.results === undefined && look(item, seen);
    else if (!isRecord(item)) entries.push(item);
    else {
      const { id, file_name, width, height } = item;
      entries.push({ id, file_name, width, height });
    }
  });
  if (!isRecord(json)) throw new Florence2Error(`${file} holds ${show(json)}, expected an object.`);
  if (context.results !== undefined) await readJsonItems(context.results, '[', item => look(item, seen));
  for (const field of seen.captions ? ['annotations', 'images'] : ['annotations', 'images', 'categories']) {
    if (Array.isArray(json[field])) continue;
    const why = 'a COCO file has images, annotations and, for objects, categories';
    throw new Florence2Error(`${file} has no list of ${field}: ${why}.`);
  }
  const { captions } = seen;
  const images = readImages(entries.splice(0), file, context);
  const labels: CocoFile['labels'] = captions ? new Map() : readCategories(categories, seen, file, context.onProblem);
  await addAnnotations({ file, images, labels, captions, context }, seen);
  return {
    ...{ name: file, format: 'coco', frame: 'stored', subjects: [captions ? 'captions' : 'objects'] },
    images: [...images.values()].flatMap(({ image }) => image ?? []),
    labels: [...labels.values()].flatMap(({ label }) => label ?? []),
  };
}

/** What decides how annotations are read. They are read a second time for their contents, when all images are known. */
interface Seen {
  /** Ids of the categories that objects have. */
  categories: Set<string>;
  captions: boolean;
  /** Whether an object that is not marked as a crowd has a segmentation. */
  outlines: boolean;
}

function look(annotation: unknown, seen: Seen): void {
  if (!isRecord(annotation)) return;
  const { category_id, caption, iscrowd, segmentation } = annotation;
  seen.categories.add(String(category_id));
  if (caption !== undefined) seen.captions = true;
  const hasOutline = Array.isArray(segmentation) ? segmentation.length > 0 : isRecord(segmentation);
  if (hasOutline && iscrowd !== 1 && iscrowd !== true) seen.outlines = true;
}

function readImages(entries: unknown[], file: string, context: ReadContext): CocoFile['images'] {
  const finder = context.images.within(findFolder(file, entries[0]));
  const images: CocoFile['images'] = new Map();
  for (const [i, entry] of entries.entries()) {
    const source = `${file}: images[${i}]`;
    reporting(source, context.onProblem, () => {
      const { id, file_name, width, height } = record(entry);
      if (images.has(String(id))) throw new UsageError(`id ${show(id)} is also the id of another image.`);
      images.set(String(id), { id, image: null });
      if (typeof file_name !== 'string') throw new UsageError(`file_name is ${show(file_name)}, expected a path.`);
      const size = isPositive(width) && isPositive(height) ? { width, height } : undefined;
      const path = finder.find(file_name);
      images.set(String(id), { id, image: newImage(path, finder.nameOf(path), source, size) });
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
  const places = ['', 'images', join('..', set), join('..', 'images', set), join('..', 'images'), '..'];
  return places.map(place => join(folder, place)).find(place => existsSync(join(place, String(name)))) ?? folder;
}

/** Reads the labels. What is wrong with a label that no object has is a warning. */
function readCategories(
  categories: unknown[],
  seen: Seen,
  file: string,
  onProblem: ProblemHandler,
): CocoFile['labels'] {
  const labels: CocoFile['labels'] = new Map();
  for (const [i, entry] of categories.entries()) {
    reporting(`${file}: categories[${i}]`, onProblem, () => {
      const { id, name } = record(entry);
      if (labels.has(String(id))) throw new UsageError(`id ${show(id)} is also the id of another category.`);
      labels.set(String(id), { id, label: null });
      const isUsed = seen.categories.has(String(id));
      const report: ProblemHandler = problem => onProblem({ ...problem, severity: isUsed ? 'error' : 'warning' });
      reporting(`${file}: categories[${i}]`, report, () => {
        checkLabelName(name);
        labels.set(String(id), { id, label: name });
      });
    });
  }
  return labels;
}

/** Adds each object or caption to its image. */
async function addAnnotations(coco: CocoFile, seen: Seen): Promise<void> {
  const { file, images, context } = coco;
  const { onProblem, crowds = seen.outlines } = context;
  const ids = new Set<unknown>();
  let marked = 0;
  let otherIds = 0;
  const { results } = context;
  await readJsonItems(results ?? file, results === undefined ? { annotations: '[' } : '[', (entry, i) => {
    const source = results === undefined ? `${file}: annotations[${i}]` : `${results}: [${i}]`;
    const warn = (message: string): void => onProblem({ severity: 'warning', source, message });
    reporting(source, onProblem, () => {
      const annotation = record(entry);
      const found = images.get(String(annotation.image_id));
      if (found === undefined) throw unknownId('image_id', annotation, 'images');
      if (found.id !== annotation.image_id && otherIds++ === 0) {
        warn(`image_id is ${show(annotation.image_id)}, but the image's id is ${show(found.id)}: read as the same id.`);
      }
      if (annotation.id !== undefined && ids.has(annotation.id)) {
        warn(`id ${show(annotation.id)} is also the id of another annotation.`);
      }
      ids.add(annotation.id);
      const { image } = found;
      if (image === null) return; // already reported
      if (coco.captions) return void image.captions.push(readCaption(annotation));
      const object = readObject(annotation, coco, image, warn);
      if (!object) return;
      const isMarked = annotation.iscrowd === 1 || annotation.iscrowd === true;
      if (isMarked) marked++;
      if (isMarked && crowds) object.crowd = true;
      addObject(image, object, source, onProblem);
    });
  });
  if (marked === 0) return;
  const message = crowds
    ? `${marked} crowd annotations are not learnt: they do not outline a single object.`
    : `${marked} annotations are marked as crowds, but no other object has an outline: they are read as single objects.`;
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
  { labels, context }: CocoFile,
  { size }: ReadImage,
  warn: (message: string) => void,
): LabelledObject | undefined {
  const found = labels.get(String(annotation.category_id));
  if (found === undefined) throw unknownId('category_id', annotation, 'categories');
  const { score, area, bbox, segmentation } = annotation;
  const outline: Pick<LabelledObject, 'polygons' | 'mask'> = context.outlines
    ? cocoOutline(segmentation, size, warn)
    : {};
  if (found.label === null) return undefined;
  const object: LabelledObject = { label: found.label, box: readBox(bbox) };
  if (outline.polygons) object.polygons = outline.polygons;
  if (outline.mask) object.mask = outline.mask;
  if (typeof area === 'number') object.area = area;
  if (typeof score === 'number') object.score = score;
  return object;
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
 * Returns the polygons of an object's segmentation, or its mask if the segmentation is run lengths (a list of numbers, or
 * COCO's compressed string). Polygons with fewer than three points are skipped, with a warning.
 */
function cocoOutline(
  segmentation: unknown,
  image: ImageSize | undefined,
  warn: (message: string) => void,
): Pick<LabelledObject, 'polygons' | 'mask'> {
  if (segmentation === undefined || segmentation === null) return {};
  if (isRecord(segmentation)) return { mask: readRuns(segmentation, image) };
  if (!Array.isArray(segmentation)) {
    throw new UsageError(`segmentation is ${show(segmentation)}, expected polygons or run lengths.`);
  }
  const polygons = segmentation.filter((polygon, i): polygon is Polygon => {
    if (!Array.isArray(polygon) || !polygon.every(Number.isFinite)) {
      throw new UsageError(`segmentation[${i}] is ${show(polygon)}, expected x, y, x, y, ….`);
    }
    const whole = polygon.length >= 6 && polygon.length % 2 === 0;
    if (!whole)
      warn(`segmentation[${i}] of ${polygon.length} numbers is skipped: a polygon has at least three points.`);
    return whole;
  });
  return polygons.length > 0 ? { polygons } : {};
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
  return checkRuns({ size: [height, width], counts: runs as number[] });
}

const isPositive = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;
