/** What differs between Node and browsers, for browsers: the same exports as node.ts, whose place it takes there. */
import { Florence2Error } from '../errors.ts';
import type { ByteSource, FileContent, Folder } from '../files/folder.ts';
import { UrlFolder } from '../files/url_folder.ts';
import { canvasCodec } from './canvas_codec.ts';
import type { Codec } from './codec.ts';

/** Decodes images. */
export const codec: Codec = canvasCodec;

/** Returns the files below a base URL. A relative URL is resolved against the address of the page. */
export const openFolder = (url: string): Folder => new UrlFolder(url);

/** Browsers have no paths: every string is a URL. */
export async function readLocalFile(
  _input: string | URL,
  _most?: number,
): Promise<{ bytes: Uint8Array; name: string } | undefined> {
  return undefined;
}

/** Runs a function. Browsers themselves stop scripts that take too long. */
export const withTimeLimit = <T>(_milliseconds: number, run: () => T, _late: () => Error): T => run();

/** Whether this is Node: with a file system, and able to load TensorFlow. */
export const isNode: boolean = false;

/** Opens the file at a URL for positioned reads. @throws Florence2Error if it does not exist or cannot be read */
export async function openFile(url: string): Promise<ByteSource> {
  const end = url.lastIndexOf('/') + 1;
  const source = await new UrlFolder(url.slice(0, end)).open(url.slice(end));
  if (!source) throw new Florence2Error(`${url} does not exist.`, { code: 'FILE_NOT_FOUND' });
  return source;
}

/** @throws Florence2Error always: browsers have no files to write */
export async function writeFile(path: string, _content: FileContent): Promise<void> {
  throw new Florence2Error(`${path} cannot be written: browsers have no file system.`, { code: 'FILE_NOT_WRITABLE' });
}

/** @throws Florence2Error if the browser has no WebGPU */
export async function provideWebgpu(): Promise<void> {
  if (!('gpu' in navigator)) throw new Florence2Error('this browser has no WebGPU.', { code: 'BACKEND' });
}

/** Browsers have no process whose listeners could change. */
export const withoutErrorListeners = <T>(start: () => Promise<T>): Promise<T> => start();
