import { createReadStream } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { extract, type Header } from 'tar-stream';
import { Florence2Error, UsageError } from '../../errors.ts';
import { requireFile } from '../../files/whole_file.ts';
import { isRecord } from '../../json.ts';
import { show } from '../../show.ts';
import { IMAGE_NAME } from '../find_images.ts';
import {
  addObject,
  newImage,
  type ReadContext,
  type ReadImage,
  type ReadSet,
  reporting,
  subjectsOf,
} from '../reading.ts';
import { checkTarget } from '../targets.ts';

/** Most bytes of a caption or of annotations in a shard. */
const LARGEST_TEXT = 64 << 20;

/** Most bytes of an image in a shard. */
const LARGEST_IMAGE = 1 << 30;

/** A sample of a shard: the files whose names differ only in their extension. */
interface Sample {
  key: string;
  image?: () => Promise<Uint8Array>;
  extension: string;
  text?: string;
  json?: string;
}

/**
 * Reads WebDataset shards: tar files in which the files of a sample have one name and follow each other. `.txt` is a
 * caption; `.json` has `caption`, or the fields of `AnnotatedImage` as `convertDataset` writes them. Only the positions of
 * images are kept; links and other special entries are skipped.
 *
 * @param path a shard, or a folder of shards
 * @throws Florence2Error that names the shard and the invalid entry, unless the context handles problems
 */
export async function readWebdataset(path: string, { onProblem }: ReadContext): Promise<ReadSet> {
  const isFolder = (await stat(path)).isDirectory();
  const shards = isFolder ? (await readdir(path)).filter(name => /\.tar$/i.test(name)).sort() : [basename(path)];
  const folder = isFolder ? path : dirname(path);
  const images: ReadImage[] = [];
  for (const shard of shards) {
    const file = join(folder, shard);
    for await (const sample of samplesOf(file)) {
      const source = `${file}: ${sample.key}`;
      reporting(source, onProblem, () => {
        if (!sample.image) throw new UsageError('The sample has no image.');
        const image = newImage(sample.image, `${sample.key}${sample.extension}`, source);
        if (sample.text !== undefined) image.captions.push(sample.text.replace(/^\uFEFF/, '').trim());
        if (sample.json !== undefined) addAnnotations(image, sample.json, source, onProblem);
        images.push(image);
      });
    }
  }
  return { name: path, format: 'webdataset', images, subjects: subjectsOf(images, 'captions'), frame: 'stored' };
}

/** Adds the annotations of a sample, in pixels of the stored image. */
function addAnnotations(image: ReadImage, json: string, source: string, onProblem: ReadContext['onProblem']): void {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new Florence2Error(`The .json is not JSON: ${(error as Error).message}.`, { cause: error });
  }
  if (!isRecord(value)) throw new UsageError(`The .json holds ${show(value)}, expected an object.`);
  const { caption = value.text, captions, objects, texts, targets } = value;
  if (typeof caption === 'string' && image.captions.length === 0) image.captions.push(caption);
  if (Array.isArray(captions)) image.captions.splice(0, image.captions.length, ...captions.map(String));
  for (const [i, object] of listOf(objects).entries()) {
    const at = `${source}.json: objects[${i}]`;
    reporting(at, onProblem, () => {
      if (!isNumbers(object.box, 4)) throw new UsageError(`box is ${show(object.box)}, expected x1, y1, x2 and y2.`);
      addObject(image, object as unknown as ReadImage['objects'][number], at, onProblem);
    });
  }
  for (const [i, line] of listOf(texts).entries()) {
    reporting(`${source}.json: texts[${i}]`, onProblem, () => {
      if (!isNumbers(line.quad, 8)) throw new UsageError(`quad is ${show(line.quad)}, expected four corners.`);
      image.texts.push(line as unknown as ReadImage['texts'][number]);
    });
  }
  for (const [i, target] of listOf(targets).entries()) {
    reporting(`${source}.json: targets[${i}]`, onProblem, () => {
      checkTarget(target as unknown as ReadImage['targets'][number]);
      image.targets.push({ ...(target as unknown as ReadImage['targets'][number]), source });
    });
  }
}

const isNumbers = (value: unknown, length: number): boolean =>
  Array.isArray(value) && value.length === length && value.every(Number.isFinite);

const listOf = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter(isRecord) : []);

type Entry = Readable & { header: Header & { byteOffset: number } };

async function* samplesOf(file: string): AsyncGenerator<Sample, void> {
  await requireFile(file);
  let sample: Sample | undefined;
  const entries = createReadStream(file).pipe(extract()) as unknown as AsyncIterable<Entry>;
  try {
    for await (const entry of entries) {
      const { name, type, size = 0 } = entry.header;
      const extension = /(?<=[^/])\.[^/]*$/.exec(name)?.[0] ?? '';
      const key = name.slice(0, name.length - extension.length);
      if (type !== 'file' || extension === '') {
        entry.resume();
        continue;
      }
      if (sample && sample.key !== key) {
        yield sample;
        sample = undefined;
      }
      sample ??= { key, extension: '' };
      if (IMAGE_NAME.test(name)) {
        const { byteOffset } = entry.header;
        sample.image = () => readPart(file, byteOffset, size);
        sample.extension = extname(name);
        entry.resume();
      } else if (extension === '.txt') sample.text = await textOf(entry, `${file}: ${name}`);
      else if (extension === '.json') sample.json = await textOf(entry, `${file}: ${name}`);
      else entry.resume();
    }
  } catch (error) {
    if (error instanceof Florence2Error) throw error;
    throw new Florence2Error(`${file} is not a tar file, or is damaged: ${(error as Error).message}.`, {
      cause: error,
    });
  }
  if (sample) yield sample;
}

async function textOf(entry: Entry, name: string): Promise<string> {
  if ((entry.header.size ?? 0) > LARGEST_TEXT)
    throw new Florence2Error(`${name} is larger than ${LARGEST_TEXT} bytes.`);
  const chunks: Buffer[] = [];
  for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

async function readPart(file: string, position: number, size: number): Promise<Uint8Array> {
  if (size > LARGEST_IMAGE) throw new Florence2Error(`An image in ${file} is larger than ${LARGEST_IMAGE} bytes.`);
  const handle = await open(file, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(new Uint8Array(size), 0, size, position);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
