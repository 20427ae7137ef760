import { existsSync, readdirSync } from 'node:fs';
import { copyFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, normalize, resolve } from 'node:path';
import { Florence2Error, UsageError } from '../errors.ts';
import { makeFolder, recoverFolder, replaceFolder } from '../files/write.ts';
import { callback, checkOptions, type OptionTable, oneOf, onOff, required, text } from '../options.ts';
import { type AnnotatedImage, DATASET_FORMATS, type DatasetFormat } from './annotation.ts';
import { HOLDS, type Losses, suited } from './holds.ts';
import { type AnnotationOptions, datasetSplits, openAnnotations } from './open.ts';
import { SPLITS, type Split } from './reading.ts';
import { uprightAnnotations } from './stored.ts';
import { cocoWriter } from './write/coco.ts';
import { cvatWriter } from './write/cvat.ts';
import { fiftyoneWriter, huggingFaceWriter, jsonlWriter, labelStudioWriter } from './write/lists.ts';
import type { DatasetWriter, OutputFolder, PlacedImage } from './write/output.ts';
import { captionWriter, labelmeWriter, vocWriter } from './write/per_image.ts';
import { webdatasetWriter } from './write/webdataset.ts';
import { yoloWriter } from './write/yolo.ts';

/** What is done with the files of images. */
export const IMAGE_MODES = ['stay', 'copy', 'link'] as const;

/** Options of `convertDataset`. */
export interface ConvertOptions extends Omit<AnnotationOptions, 'split'> {
  /** The format to write. */
  to: DatasetFormat;
  /** Only this split. Default: all. */
  split?: Split;
  /**
   * `stay` leaves images where they are, and the new files name them there; `copy` copies them into the dataset, `link`
   * makes symbolic links. YOLO, Pascal VOC, Hugging Face, FiftyOne and `txt` need `copy` or `link`; shards always contain
   * their images. Default `stay`.
   */
  images?: (typeof IMAGE_MODES)[number];
  /** Called after each image with the number of written images and of all images of the split. */
  onProgress?: (done: number, total: number, split: Split) => void;
}

const OPTIONS: OptionTable<ConvertOptions> = {
  to: required(oneOf(...DATASET_FORMATS)),
  ...{ format: oneOf(...DATASET_FORMATS), split: oneOf(...SPLITS), images: oneOf(...IMAGE_MODES), imageRoot: text },
  ...{ crowds: onOff, onProblem: callback, onProgress: callback },
};

/** What `convertDataset` wrote. */
export interface ConvertReport {
  /** Number of images by split. */
  images: Partial<Record<Split, number>>;
  /** What the format cannot hold, with counts: `scores`, `captions after the first`, …. */
  lost: Losses;
}

const WRITERS: Record<DatasetFormat, (output: OutputFolder) => DatasetWriter> = {
  ...{ coco: cocoWriter, voc: vocWriter, jsonl: jsonlWriter, cvat: cvatWriter, labelme: labelmeWriter },
  ...{ 'label-studio': labelStudioWriter, fiftyone: fiftyoneWriter, hf: huggingFaceWriter, txt: captionWriter },
  ...{ webdataset: webdatasetWriter, yolo: output => yoloWriter(output, 'boxes') },
  ...{ 'yolo-seg': output => yoloWriter(output, 'polygons'), 'yolo-obb': output => yoloWriter(output, 'corners') },
};

/**
 * Writes a dataset in another format, image by image. The new folder appears when it is complete; if anything fails,
 * nothing is left of it. Images are never moved. Node only.
 *
 * @param input a path for `openAnnotations`
 * @param output a folder that does not exist, or is empty
 * @throws Florence2Error for invalid entries of the input, unless `onProblem` is given; UsageError if the folder has files,
 *   or the format needs the images in its folder
 */
export async function convertDataset(input: string, output: string, options: ConvertOptions): Promise<ConvertReport> {
  checkOptions('convertDataset', options, OPTIONS);
  const { to, images = 'stay', split: only, onProgress, ...reading } = options;
  if (existsSync(output) && readdirSync(output).length > 0) {
    throw new UsageError(`${output} exists and is not empty: name another folder.`);
  }
  if (images === 'stay' && HOLDS[to].inside) {
    throw new UsageError(`A ${to} dataset contains its images: add --copy or --link (images: 'copy' or 'link').`);
  }
  const splits = only ? [only] : await datasetSplits(input);
  if (splits.length === 0) await openAnnotations(input, reading); // throws an error that lists what was looked for
  const report: ConvertReport = { images: {}, lost: {} };
  await recoverFolder(output);
  await replaceFolder(output, async folder => {
    const labels: string[] = [];
    const final = resolve(output);
    const writer = WRITERS[to]({ folder, final, labels });
    const placer = new ImagePlacer(to, images, folder, final);
    for (const split of splits) {
      const dataset = await openAnnotations(input, { ...reading, split });
      for (const label of dataset.labels ?? []) if (!labels.includes(label)) labels.push(label);
      let done = 0;
      for (let i = 0; i < dataset.length; i++) {
        const stored = suited(await dataset.image(i), to, report.lost);
        const image = HOLDS[to].upright ? uprightAnnotations(stored) : stored;
        await writer.add(await placer.place(image, split));
        onProgress?.(++done, dataset.length, split);
      }
      report.images[split] = dataset.length;
    }
    await writer.finish();
  });
  return report;
}

/** Copies or links the files of images, or finds the paths where they stay. */
class ImagePlacer {
  private readonly used = new Set<string>();

  constructor(
    private readonly to: DatasetFormat,
    private readonly mode: (typeof IMAGE_MODES)[number],
    private readonly folder: string,
    private readonly final: string,
  ) {}

  async place(image: AnnotatedImage, split: Split): Promise<PlacedImage> {
    const { size } = image;
    if (!size) throw new Florence2Error(`${image.source}: The size of the image ${image.file} is unknown.`);
    const file = this.nameOf(image.file, split);
    const placed = (target: string): PlacedImage => Object.assign(image, { size, split, file, target });
    if (this.to === 'webdataset') return placed(file);
    const { image: source } = image;
    if (this.mode === 'stay') {
      if (typeof source === 'string') return placed(resolve(source));
      throw new UsageError(`${image.source}: Images inside shards have no path: add --copy (images: 'copy').`);
    }
    const inside = join(HOLDS[this.to].images(split), file);
    const path = join(this.folder, inside);
    await makeFolder(dirname(path));
    if (typeof source !== 'string') await writeFile(path, source as Uint8Array);
    else if (/^(https?|data):/i.test(source))
      throw new UsageError(`${image.source}: ${source} is not a file: download it first.`);
    else if (this.mode === 'copy') await copyFile(source, path);
    else await symlink(resolve(source), path);
    return placed(join(this.final, inside));
  }

  /** Returns a name that no other image has, also without its extension. */
  private nameOf(file: string, split: Split): string {
    const plain = normalize(file).replaceAll('\\', '/');
    if (/^(\.\.)?\//.test(plain) || plain === '..')
      throw new Florence2Error(`The image name ${file} leaves the dataset.`);
    const name = HOLDS[this.to].flat ? plain.replaceAll('/', '_') : plain;
    const [, stem, extension] = /^(.*?)(\.[^./]*)?$/s.exec(name)!;
    let unique = stem;
    const group = this.to === 'voc' ? '' : split;
    for (let i = 2; this.used.has(`${group}/${unique}`); i++) unique = `${stem}-${i}`;
    this.used.add(`${group}/${unique}`);
    return `${unique}${extension ?? ''}`;
  }
}
