/** What differs between Node and browsers, for browsers: the same exports as node.ts, whose place it takes there. */
import { Florence2Error } from '../errors.ts';
import type { Folder } from '../files/folder.ts';
import { UrlFolder } from '../files/url_folder.ts';
import { canvasCodec } from './canvas_codec.ts';
import type { Codec } from './codec.ts';

/** Decodes images. */
export const codec: Codec = canvasCodec;

/** Returns the files below a base URL, relative to the page where it is relative. */
export const openFolder = (url: string): Folder => new UrlFolder(url);

/** Browsers have no paths: every string is a URL. */
export async function readLocalFile(_input: string | URL): Promise<{ bytes: Uint8Array; name: string } | undefined> {
  return undefined;
}

/** Whether the tensorflow backend can exist on this platform. */
export const supportsTensorflow: boolean = false;

/** @throws Florence2Error where the browser has no WebGPU */
export async function provideWebgpu(): Promise<void> {
  if (!('gpu' in navigator)) throw new Florence2Error('this browser has no WebGPU.');
}

/** Browsers have no process whose listeners could change. */
export const withoutErrorListeners = <T>(start: () => Promise<T>): Promise<T> => start();
