import { Florence2Error, UsageError } from '../errors.ts';
import { readBytes } from './source.ts';
import { DEFAULT_MAX_PIXELS, type ImageInput, type RawImage } from './types.ts';

type Pdfium = typeof import('@hyzyla/pdfium');
type Document = Awaited<ReturnType<InstanceType<Pdfium['PDFiumLibrary']>['loadDocument']>>;

/** A PDF file, whose pages are rendered on request. */
export interface PdfFile {
  /** Path or URL. */
  readonly name: string;
  /** Number of pages. */
  readonly pages: number;
  /**
   * Renders a page on white, with annotations and the contents of form fields.
   *
   * @param page from 1
   * @param dpi dots per inch; a page of A4 has 1240 x 1754 pixels at the default, 150
   * @param maxPixels see `DecodeOptions`
   * @throws UsageError if there is no such page; Florence2Error if it is damaged, or has too many pixels
   */
  render(page: number, dpi?: number, maxPixels?: number): Promise<RawImage>;
}

/** Points per inch, the unit of sizes in PDF files. */
const POINTS = 72;

/**
 * Opens a PDF file, to read its pages as images. Needs the optional package @hyzyla/pdfium. Node only.
 *
 * @param input a path, a URL, or the bytes of the file
 * @throws Florence2Error if the package is not installed, or the file is missing, encrypted or damaged
 */
export async function openPdf(input: Exclude<ImageInput, RawImage>): Promise<PdfFile> {
  const pdfium = await loadPdfium();
  const { bytes, name } = await readBytes(input);
  const document = await openDocument(pdfium, bytes, name);
  const pages = document.getPageCount();
  document.destroy();
  const render = async (page: number, dpi = 150, maxPixels = DEFAULT_MAX_PIXELS): Promise<RawImage> => {
    if (!Number.isInteger(page) || page < 1 || page > pages) {
      throw new UsageError(`${name} has no page ${page}: it has ${pages === 1 ? '1 page' : `${pages} pages`}.`);
    }
    return renderPage(pdfium, bytes, { name: `${name}, page ${page},`, index: page - 1, dpi, maxPixels });
  };
  return { name, pages, render };
}

async function loadPdfium(): Promise<Pdfium> {
  try {
    return await import('@hyzyla/pdfium');
  } catch (error) {
    throw new Florence2Error('PDF files need an optional package: npm install @hyzyla/pdfium', { cause: error });
  }
}

/** Opens the bytes in a new instance of PDFium, because an instance keeps the memory of all pages that it has read. */
async function openDocument({ PDFiumLibrary }: Pdfium, bytes: Uint8Array, name: string): Promise<Document> {
  const library = await PDFiumLibrary.init();
  try {
    return await library.loadDocument(bytes);
  } catch (error) {
    const reason = /password|security/i.test((error as Error).message)
      ? 'is encrypted: save a copy without a password'
      : 'is damaged, or not a PDF file';
    throw new Florence2Error(`${name} ${reason}.`, { code: 'INVALID_IMAGE', cause: error });
  }
}

async function renderPage(
  pdfium: Pdfium,
  bytes: Uint8Array,
  { name, index, dpi, maxPixels }: { name: string; index: number; dpi: number; maxPixels: number },
): Promise<RawImage> {
  const document = await openDocument(pdfium, bytes, name);
  try {
    const page = document.getPage(index);
    const { originalWidth, originalHeight } = page.getOriginalSize();
    const [width, height] = [originalWidth, originalHeight].map(points => Math.round((points * dpi) / POINTS));
    if (!(width >= 1 && height >= 1)) throw new Florence2Error(`${name} is damaged.`, { code: 'INVALID_IMAGE' });
    if (width * height > maxPixels) {
      const limit = `more than the limit of ${maxPixels}: use fewer dots per inch`;
      throw new Florence2Error(`${name} has ${width} x ${height} pixels, ${limit}.`, { code: 'INVALID_IMAGE' });
    }
    const { data } = await page.render({ width, height, scale: 1, render: 'bitmap', renderFormFields: true });
    return { data: withoutAlpha(data), width, height };
  } finally {
    document.destroy();
  }
}

/** Returns the RGB pixels of opaque RGBA pixels. */
function withoutAlpha(rgba: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return rgb;
}
