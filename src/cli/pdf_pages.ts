import { UsageError } from '../errors.ts';
import { openPdf } from '../image/pdf.ts';
import type { ImageInput, RawImage } from '../image/types.ts';

/** A page of a PDF file. */
export interface PdfPage {
  /** `file.pdf#page=2`. */
  name: string;
  /** Ends the names of files about the page: `page-02` of 10 and more pages. */
  suffix: string;
  read(): Promise<RawImage>;
}

/** Flags about PDF files. */
export interface PdfFlags {
  /** Pages such as `1-3,5`. Default: all. */
  pages?: string;
  /** Dots per inch. */
  dpi?: number;
  maxPixels?: number;
}

/** Splits `file.pdf#page=2` into the file and its page; undefined if an argument does not name a PDF file. */
export function pdfArgument(arg: string): { file: string; page?: string } | undefined {
  const [, file, page] = /^(.*\.pdf)(?:#page=(\d+))?$/is.exec(arg) ?? [];
  return file === undefined ? undefined : { file, page };
}

/**
 * Returns the chosen pages of a PDF file, in the order in which they are chosen.
 *
 * @param name the name of the file for messages and results
 * @throws UsageError for pages that the file does not have; Florence2Error if it cannot be read
 */
export async function pdfPages(
  source: Exclude<ImageInput, RawImage>,
  name: string,
  { pages, dpi, maxPixels }: PdfFlags,
): Promise<PdfPage[]> {
  const pdf = await openPdf(source);
  const digits = String(pdf.pages).length;
  return pagesOf(pages ?? '1-', name, pdf.pages).map(page => ({
    name: `${name}#page=${page}`,
    suffix: `page-${String(page).padStart(digits, '0')}`,
    read: () => pdf.render(page, dpi, maxPixels),
  }));
}

/** Returns the pages of a list such as `1-3,5,8-`, each once. */
export function pagesOf(list: string, name: string, count: number): number[] {
  const pages = list.split(',').flatMap(part => {
    const [, from, dash, to] = /^\s*(\d+)\s*(-?)\s*(\d*)\s*$/.exec(part) ?? [];
    if (from === undefined || (dash === '' && to !== '')) {
      throw new UsageError(`Pages ${list}: expected pages such as 2, 1-3,5 or 4- (from page 4 on).`);
    }
    const [first, last] = [Number(from), dash === '' ? Number(from) : to === '' ? count : Number(to)];
    if (first < 1 || first > count || last > count) {
      throw new UsageError(`Pages ${list}: ${name} has ${count === 1 ? '1 page' : `the pages 1 to ${count}`}.`);
    }
    if (last < first) throw new UsageError(`Pages ${list}: ${part.trim()} ends before it begins.`);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
  return [...new Set(pages)];
}
