import { Florence2Error } from '../errors.ts';

/** Formats that `decodeImage` decodes. */
export type ImageFormat = 'PNG' | 'JPEG' | 'GIF' | 'WebP' | 'TIFF' | 'BMP' | 'AVIF';

/** Extensions of the files that a search of a folder takes as images. The format is read from the first bytes. */
export const IMAGE_EXTENSIONS = ['png', 'jpg', 'jpeg', 'webp', 'bmp', 'gif', 'tif', 'tiff', 'avif'];

/** Frequent inputs of other formats, with advice for the error message. */
const REFUSED: [magic: { test(head: string): boolean }, what: string][] = [
  [/^%PDF-/, 'a PDF document: render its pages to PNG first'],
  [{ test: isSvg }, 'an SVG drawing: render it to PNG first'],
  [/^(\uFEFF|ï»¿)?\s*<(!DOCTYPE html|html|head|body)/i, 'a web page: give the URL of the image itself'],
  [/^version https:\/\/git-lfs/, 'a Git LFS pointer: run `git lfs pull` to get the image'],
  [/^....ftypavis/s, 'an animated AVIF: save one of its frames as PNG'],
  [/^....ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)/s, 'a HEIC image, which sharp does not decode: save it as JPEG'],
  [/^....ftyp/s, 'a video: extract a frame first'],
  [/^(\xFF\x0A|\0\0\0\x0CJXL )/, 'a JPEG XL image: save it as PNG or JPEG'],
  [/^(\xFF\x4F\xFF\x51|\0\0\0\x0CjP {2})/, 'a JPEG 2000 image: save it as PNG or JPEG'],
  [/^8BPS/, 'a Photoshop document: export it as PNG'],
  [/^\0\0[\x01\x02]\0[^\0]/, 'a Windows icon: save it as PNG'],
  [/^P[1-7]\s/, 'a Netpbm image: save it as PNG'],
  [/^(PK\x03\x04|\x1F\x8B|7z\xBC\xAF|Rar!)/, 'an archive: unpack it first'],
];

const ACCEPTED: [magic: RegExp, format: ImageFormat][] = [
  [/^\x89PNG\r\n\x1A\n/, 'PNG'],
  [/^\xFF\xD8\xFF/, 'JPEG'],
  [/^GIF8[79]a/, 'GIF'],
  [/^RIFF....WEBP/s, 'WebP'],
  [/^(II[*+]\0|MM\0[*+])/, 'TIFF'],
  [/^BM.{12}[\x0C\x28\x34\x38\x40\x6C\x7C]\0\0\0/s, 'BMP'],
  [/^....ftypavif/s, 'AVIF'],
  [/^\0\0\0.ftyp(mif1|miaf|msf1).{4}(.{4})*?avif/s, 'AVIF'],
];

/**
 * Returns the format of an image file from its first bytes; file extensions are ignored.
 *
 * @throws Florence2Error for other formats, which it names if it recognises them
 */
export function imageFormat(bytes: Uint8Array, name: string): ImageFormat {
  if (bytes.length === 0) throw new Florence2Error(`${name} is empty: expected an image.`, { code: 'INVALID_IMAGE' });
  const head = String.fromCharCode(...bytes.subarray(0, 1024)); // Latin-1: one character per byte
  for (const [magic, format] of ACCEPTED) if (magic.test(head)) return format;
  for (const [magic, what] of REFUSED)
    if (magic.test(head)) throw new Florence2Error(`${name} is ${what}.`, { code: 'INVALID_IMAGE' });
  throw new Florence2Error(`${name} is not an image: expected PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF.`, {
    code: 'INVALID_IMAGE',
  });
}

/** Whether a text is an SVG drawing: `<svg` after declarations and comments, which are skipped one by one. */
function isSvg(head: string): boolean {
  let rest = head.replace(/^(\uFEFF|ï»¿)?\s*/, '');
  for (;;) {
    if (/^<svg[\s>]/i.test(rest)) return true;
    const end = /^<!--/.test(rest) ? '-->' : /^<(\?xml|!DOCTYPE\s+svg)/i.test(rest) ? '>' : undefined;
    const at = end === undefined ? -1 : rest.indexOf(end);
    if (end === undefined || at < 0) return false;
    rest = rest.slice(at + end.length).trimStart();
  }
}
