import { expandImages } from '../datasets/find_images.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import { imageName } from '../image/source.ts';
import type { ImageInput } from '../image/types.ts';
import { nameOutputs } from './outputs.ts';
import { type PdfFlags, pdfArgument, pdfPages } from './pdf_pages.ts';

/** An image that a command reads. */
export interface InputImage {
  /** For messages and results: a path, a URL, `-`, or `file.pdf#page=2`. */
  name: string;
  /** Path of the files about it in an output folder, without extension. */
  output: string;
  /** Returns the input of `decodeImage`; of a page of a PDF file its pixels. */
  read(): Promise<ImageInput>;
}

/** The argument that stands for standard input. */
const STDIN = '-';

/**
 * Returns the images that the arguments of a command name, as `expandImages` does. `-` is standard input, which is read
 * here. Each page of a PDF file is one image; `file.pdf#page=2` is one page.
 *
 * @throws Florence2Error if a file does not exist, a folder or pattern has no image, or standard input is empty;
 *   UsageError if standard input is a terminal or named twice, and for pages that do not exist
 */
export async function findInputs(args: readonly string[], flags: PdfFlags = {}): Promise<InputImage[]> {
  if (args.filter(arg => arg === STDIN).length > 1) {
    throw new UsageError('- is given twice, but standard input holds one file.');
  }
  const found = await Promise.all(args.map(arg => (arg === STDIN ? [arg] : expand(arg))));
  const images = [...new Set(found.flat())];
  const files = images.map(image => pdfArgument(image)?.file ?? image);
  const paths = [...new Set(files)];
  const outputs = nameOutputs(paths);
  const inputs: InputImage[] = [];
  let pdfs = 0;
  for (const [i, image] of images.entries()) {
    const output = outputs[paths.indexOf(files[i])];
    const source = image === STDIN ? await readStdin() : files[i];
    if (typeof source === 'string' ? !pdfArgument(source) : !(await isPdf(source))) {
      inputs.push({ name: imageName(image), output, read: async () => source });
      continue;
    }
    pdfs++;
    const { page } = pdfArgument(image) ?? {};
    const pages = await pdfPages(source, imageName(files[i]), page === undefined ? flags : { ...flags, pages: page });
    for (const { name, suffix, read } of pages) inputs.push({ name, output: `${output}.${suffix}`, read });
  }
  const given = flags.pages !== undefined ? '--pages' : flags.dpi !== undefined ? '--dpi' : undefined;
  if (given && pdfs === 0) throw new UsageError(`${given} is for PDF files, but none is given.`);
  return inputs;
}

/** Expands an argument; a page of a PDF file stays one, if the file exists. */
async function expand(arg: string): Promise<string[]> {
  const page = pdfArgument(arg)?.page;
  if (page === undefined) return expandImages([arg]);
  return (await expandImages([pdfArgument(arg)!.file])).map(file => `${file}#page=${page}`);
}

async function readStdin(): Promise<File> {
  const { stdin } = process;
  if (stdin.isTTY) {
    throw new UsageError(
      '- reads an image from standard input, which is a terminal: florence2 run - --task od < photo.jpg',
    );
  }
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for await (const chunk of stdin) chunks.push(chunk);
  if (chunks.length === 0) throw new Florence2Error('Standard input is empty.', { code: 'INVALID_IMAGE' });
  return new File(chunks, 'Standard input');
}

const isPdf = async (file: Blob): Promise<boolean> => (await file.slice(0, 5).text()) === '%PDF-';
