import { Florence2Error, UsageError } from '../errors.ts';
import { causeOf, NetworkError, readBody } from '../files/network.ts';
import { readLocalFile } from '../platform/node.ts';
import { show } from '../show.ts';
import { type ImageInput, isRawImage, type RawImage } from './types.ts';

/** The bytes of an image file. */
export interface Source {
  bytes: Uint8Array;
  name: string; // for messages
}

const TIMEOUT_SECONDS = 60;

/** Most bytes of an image file. */
const LARGEST_IMAGE = 512 << 20;

/**
 * Reads the bytes of a path, URL, Blob or array.
 *
 * @throws Florence2Error with the path or URL and the reason; UsageError for other inputs
 */
export async function readBytes(input: Exclude<ImageInput, RawImage>): Promise<Source> {
  if (input instanceof Uint8Array) return { bytes: input, name: 'The given data' };
  if (input instanceof Blob) {
    return { bytes: new Uint8Array(await input.arrayBuffer()), name: (input as File).name ?? 'The given data' };
  }
  if (typeof input !== 'string' && !(input instanceof URL)) {
    throw new UsageError('An image must be a path, a URL, the bytes of an image file or { data, width, height }.');
  }
  const local = await readLocalFile(input, LARGEST_IMAGE);
  if (local) return local;
  const url = String(input);
  const name = imageName(url);
  let response: Response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000) });
    if (response.ok) return { bytes: await readBody(response, name, LARGEST_IMAGE), name };
  } catch (error) {
    if (error instanceof NetworkError) throw error;
    throw new Florence2Error(`${name} cannot be read: ${reason(error)}.`, { code: 'NETWORK', cause: error });
  }
  const status = `${response.status} ${response.statusText}`.trim(); // HTTP/2 has no status text
  throw new Florence2Error(`${name} cannot be read: the server answered ${status}.`, { code: 'NETWORK' });
}

/** Returns the name of an image for messages and output: its path or URL. Of a data URL the type without the data. */
export function imageName(pathOrUrl: string): string {
  return /^data:/i.test(pathOrUrl) ? `${pathOrUrl.slice(0, 60).split(',')[0]},…` : pathOrUrl;
}

function reason(error: unknown): string {
  const isTimeout = error instanceof Error && error.name === 'TimeoutError';
  return isTimeout ? `no answer within ${TIMEOUT_SECONDS} seconds` : causeOf(error);
}

/** Returns raw pixels given by the caller. @throws UsageError if their number does not fit the size */
export function checkRawImage(image: RawImage): RawImage {
  if (!isRawImage(image)) throw new UsageError(`image must have data, width and height, but it is ${show(image)}.`);
  const { data, width, height } = image;
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new UsageError(`A raw image must have a whole width and height of at least 1, not ${width} x ${height}.`);
  }
  if (!(data instanceof Uint8Array) || data.length !== width * height * 3) {
    const given = data instanceof Uint8Array ? `${data.length} bytes` : 'no Uint8Array';
    throw new UsageError(
      `A raw image of ${width} x ${height} needs ${width * height * 3} bytes of RGB, but has ${given}.`,
    );
  }
  return image;
}

/** @throws Florence2Error if the size is 0 or exceeds the limit */
export function checkSize(name: string, width: number, height: number, maxPixels: number): void {
  if (width < 1 || height < 1)
    throw new Florence2Error(`${name} has no pixels: its size is ${width} x ${height}.`, { code: 'INVALID_IMAGE' });
  if (width * height <= maxPixels) return;
  throw new Florence2Error(
    `${name} has ${width} x ${height} pixels, more than the limit of ${maxPixels}. Make it smaller, or raise maxPixels.`,
    { code: 'INVALID_IMAGE' },
  );
}
