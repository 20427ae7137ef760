import { statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { Florence2Error, UsageError } from '../errors.ts';
import {
  anything,
  callback,
  checkKind,
  checkOptions,
  instanceOf,
  listOf,
  type OptionTable,
  oneOf,
  onOff,
  pickOptions,
  text,
} from '../options.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { type Annotations, DATASET_FORMATS, type DatasetFormat } from './annotation.ts';
import { type CheckExamplesOptions, checkExamples, type DatasetReport, IMAGE_CHECKS } from './check.ts';
import { noExample } from './collect.ts';
import { type FoundDataset, findDataset } from './detect.ts';
import type { Dataset } from './example.ts';
import { ImageFinder } from './find_images.ts';
import { teaching } from './objects.ts';
import { readCoco } from './read/coco.ts';
import { readCvat } from './read/cvat.ts';
import { readFiftyone } from './read/fiftyone.ts';
import { readHuggingFace } from './read/hugging_face.ts';
import { readImageText } from './read/image_text.ts';
import { readJsonl } from './read/jsonl.ts';
import { readLabelStudio } from './read/label_studio.ts';
import { readLabelme } from './read/labelme.ts';
import { hasVocSplit, readVoc } from './read/voc.ts';
import { readWebdataset } from './read/webdataset.ts';
import { hasYoloSplit, readYolo } from './read/yolo.ts';
import {
  type DatasetProblem,
  type ReadContext,
  type ReadOptions,
  type ReadSet,
  SPLITS,
  type Split,
  throwErrors,
} from './reading.ts';
import { storedImage } from './stored.ts';

/** Options of `openAnnotations`. */
export interface AnnotationOptions extends Pick<ReadOptions, 'onProblem'> {
  /** Default: the annotations in the folder itself, else the split `train`. */
  split?: Split;
  /**
   * A folder that images are looked for in first. Paths in annotations may lead into it; without it they may not leave the
   * folder of the dataset.
   */
  imageRoot?: string;
  /**
   * The format. Default: recognised by the files. Only `yolo-obb` cannot be recognised: its lines look like polygons of
   * four points.
   */
  format?: DatasetFormat;
  /** Whether `iscrowd: 1` of COCO files marks crowds. Default: only if another object of the file has an outline. */
  crowds?: boolean;
}

/** Options of `openDataset`. */
export interface OpenOptions extends AnnotationOptions, ReadOptions {
  /**
   * A file of COCO results, a list of `{ image_id, category_id, bbox, score }`, that replaces the annotations of a COCO file:
   * images and categories are those of the file.
   */
  results?: string;
  /** Whether images that do not exist are problems: `evaluatePredictions` needs none. Default true. */
  requireImages?: boolean;
}

const ANNOTATION_OPTIONS: OptionTable<AnnotationOptions> = {
  ...{
    onProblem: callback,
    split: oneOf(...SPLITS),
    imageRoot: text,
    format: oneOf(...DATASET_FORMATS),
    crowds: onOff,
  },
};
const OPEN_OPTIONS: OptionTable<OpenOptions> = {
  ...ANNOTATION_OPTIONS,
  tasks: listOf(text, 'task names'),
  results: text,
  requireImages: onOff,
};

const READERS: Record<DatasetFormat, (path: string, context: ReadContext) => Promise<ReadSet>> = {
  ...{ coco: readCoco, yolo: readYolo, 'yolo-seg': readYolo, 'yolo-obb': readYolo, voc: readVoc, jsonl: readJsonl },
  ...{ 'label-studio': readLabelStudio, cvat: readCvat, labelme: readLabelme, fiftyone: readFiftyone },
  ...{ hf: readHuggingFace, txt: readImageText, webdataset: readWebdataset },
};

/**
 * Opens the annotations at a path, a folder or a file, whose format is recognised by its files: COCO, YOLO (`data.yaml`),
 * Pascal VOC, JSON lines of Florence-2, Label Studio, CVAT for images 1.1, LabelMe, FiftyOne, Hugging Face imagefolder,
 * images with `.txt` captions, WebDataset shards. Coordinates are pixels of the stored images, whatever the format. Node
 * only.
 *
 * @throws Florence2Error that lists what was looked for and what is there, or names the invalid entry
 */
export async function openAnnotations(path: string, options: AnnotationOptions = {}): Promise<Annotations> {
  checkOptions('openAnnotations', options, ANNOTATION_OPTIONS);
  const { set } = await readSet(path, options, true);
  const { name, format, images, labels } = set;
  const length = images.length;
  const image = async (index: number) => storedImage(set, images[index] ? index : noExample(name, index, length));
  return { name, format, length, image, ...(labels && { labels }) };
}

/**
 * Opens a dataset to train on or to evaluate, in any format of `openAnnotations`. Images without targets of the wanted
 * tasks are left out. Node only.
 *
 * @throws Florence2Error that lists what was looked for and what is there, or names the invalid entry
 */
export async function openDataset(path: string, options: OpenOptions = {}): Promise<Dataset> {
  checkOptions('openDataset', options, OPEN_OPTIONS);
  const outlines = options.tasks?.some(task => /segmentation/i.test(task)) ?? false;
  const { set } = await readSet(path, options, outlines);
  const targetsOf = teaching(set.subjects, options.tasks, set.name);
  const images = set.images.filter(image => targetsOf(image).length > 0);
  const asked = { ...set, images };
  const { name } = set;
  return {
    name,
    length: images.length,
    async example(index) {
      const read = images[index] ?? noExample(name, index, images.length);
      const turns = set.frame === 'upright' || read.size !== undefined; // else coordinates are as stored
      const stored = await storedImage(asked, index, turns);
      const { image, file, size, objects, source } = stored;
      const isMeasured = objects.some(({ crowd, area, score }) => crowd || area !== undefined || score !== undefined);
      return {
        image,
        ...(size && { imageSize: size }),
        targets: targetsOf(stored),
        ...(isMeasured && { objects }),
        file,
        source,
      };
    },
  };
}

type SetOptions = AnnotationOptions & Pick<OpenOptions, 'results' | 'requireImages'>;

async function readSet(
  path: string,
  { onProblem = throwErrors, split, imageRoot, format, crowds, results, requireImages = true }: SetOptions,
  outlines: boolean,
): Promise<{ set: ReadSet; found: FoundDataset }> {
  const found = await findDataset(path, split);
  const kind = format ?? found.format;
  if (kind !== found.format && !(kind.startsWith('yolo') && found.format === 'yolo')) {
    throw new Florence2Error(`${found.path} is a ${found.format} dataset, not ${kind}.`);
  }
  const root = rootOf(path);
  const places = { root, folders: [root], required: requireImages, ...(imageRoot !== undefined && { imageRoot }) };
  const images = new ImageFinder(places);
  const context = {
    onProblem,
    images,
    outlines,
    format: kind,
    ...(split && { split }),
    ...(crowds !== undefined && { crowds }),
    ...(results !== undefined && { results }),
  };
  if (results !== undefined && kind !== 'coco')
    throw new UsageError(`${results} is a list of COCO results, but ${found.path} is a ${kind} dataset.`);
  return { set: await READERS[kind](found.path, context), found };
}

/** Folders of annotation files that belong to a dataset one folder above. */
const INNER_FOLDERS = /^(annotations|labels|train|valid|val|validation|test)$/i;

/** Returns the folder of the dataset at a path. */
function rootOf(path: string): string {
  const folder = statSync(path).isDirectory() ? path : dirname(path);
  const isInner = (folder === path ? /^annotations$/i : INNER_FOLDERS).test(basename(resolve(folder)));
  return isInner ? dirname(resolve(folder)) : folder;
}

/** Returns the splits of a dataset. A file, or a folder that has annotations itself, is a `train` split. Node only. */
export async function datasetSplits(path: string): Promise<Split[]> {
  checkKind('path', path, text);
  const has = async (split: Split): Promise<boolean> => {
    try {
      const found = await findDataset(path, split);
      if (found.format === 'voc') return hasVocSplit(found.path, split);
      return found.format !== 'yolo' || hasYoloSplit(found.path, split);
    } catch (error) {
      if (
        error instanceof Florence2Error &&
        error.code === 'FILE_NOT_FOUND' &&
        statSync(path, { throwIfNoEntry: false })
      )
        return false;
      throw error;
    }
  };
  const present = await Promise.all(SPLITS.map(has));
  return SPLITS.filter((_, i) => present[i]);
}

/** Options of `checkDataset`. Those of `openDataset` apply if the dataset is a path. */
export interface CheckOptions
  extends CheckExamplesOptions,
    Omit<OpenOptions, 'onProblem' | 'results' | 'requireImages'> {}

const CHECK_OPTIONS: OptionTable<CheckOptions> = {
  ...{ tasks: OPEN_OPTIONS.tasks, split: OPEN_OPTIONS.split, imageRoot: text },
  ...{ format: OPEN_OPTIONS.format, crowds: onOff },
  imageCheck: oneOf(...IMAGE_CHECKS),
  ...{ tokenizer: instanceOf(Tokenizer, 'a Tokenizer'), limits: anything, onProgress: callback },
};

/**
 * Checks a whole dataset before training, and reports problems by file and line:
 *
 * - errors, which training refuses: unreadable lines; images that are missing, cannot be decoded or have another size
 *   than the annotations say; unknown tasks; invalid answers; `<loc_1000>`; prompts and answers with more tokens than the
 *   model has positions;
 * - warnings, which training accepts: boxes that are empty, inverted or outside the image; duplicate targets; phrases
 *   and characters that results omit; entries that the readers skip.
 *
 * Node only.
 *
 * @param dataset a path for `openDataset`, or a dataset
 * @throws Florence2Error if the path has no dataset
 */
export async function checkDataset(dataset: string | Dataset, options: CheckOptions = {}): Promise<DatasetReport> {
  checkOptions('checkDataset', options, CHECK_OPTIONS);
  if (typeof dataset !== 'string') return checkExamples(dataset, options);
  const problems: DatasetProblem[] = [];
  const opened = await openDataset(dataset, {
    ...pickOptions(options, OPEN_OPTIONS),
    onProblem: problem => problems.push(problem),
  });
  const report = await checkExamples(opened, options);
  return { ...report, problems: [...problems, ...report.problems] };
}
