import { expandImages } from '../datasets/find_images.ts';
import { Florence2Error, UsageError } from '../errors.ts';
import { imageName } from '../image/source.ts';
import type { ImageInput } from '../image/types.ts';
import { nameOutputs } from './outputs.ts';

/** An image that a command reads. */
export interface InputImage {
  /** For messages and results. */
  name: string;
  /** Path of the files about it in an output folder, without extension. */
  output: string;
  source: ImageInput;
}

/** The argument that stands for standard input. */
const STDIN = '-';

/**
 * Returns the images that the arguments of a command name, as `expandImages` does; `-` is standard input, which is read
 * here.
 *
 * @throws Florence2Error if a file does not exist, a folder or pattern has no image, or standard input is empty;
 *   UsageError if standard input is a terminal or named twice
 */
export async function findInputs(args: readonly string[]): Promise<InputImage[]> {
  if (args.filter(arg => arg === STDIN).length > 1) {
    throw new UsageError('- is given twice, but standard input holds one image.');
  }
  const found = await Promise.all(args.map(arg => (arg === STDIN ? [arg] : expandImages([arg]))));
  const images = [...new Set(found.flat())];
  const outputs = nameOutputs(images);
  const sources = await Promise.all(images.map(image => (image === STDIN ? readStdin() : image)));
  return images.map((image, i) => ({ name: imageName(image), output: outputs[i], source: sources[i] }));
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
