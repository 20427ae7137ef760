import { UsageError } from '../../errors.ts';
import { type TextPage, toAlto, toHocr } from '../../results/layout/documents.ts';
import { layoutText, readingOrder } from '../../results/layout/reading_order.ts';
import type { TaskResult } from '../../results/types.ts';
import { roundedCoordinates } from './numbers.ts';
import { escapeControls, escapeXmlControls } from './terminal.ts';

/** A format in which text is printed in reading order. */
export type LayoutFormat = 'text' | 'json' | 'hocr' | 'alto';

/**
 * Returns the pages of a document in a format: text with a form feed between pages, as Tesseract writes it, JSON Lines
 * with a page per line, one hOCR document, or an ALTO document, which has one page.
 */
export function layoutDocument(pages: readonly TextPage[], format: LayoutFormat): string {
  if (format === 'text') return `${pages.map(page => escapeControls(layoutText(page))).join('\n\f')}\n`;
  if (format === 'json') {
    return pages.map(page => `${escapeControls(JSON.stringify(page, roundedCoordinates))}\n`).join('');
  }
  return escapeXmlControls(format === 'hocr' ? toHocr(pages) : pages.map(toAlto).join(''));
}

/** Returns the text of a result in reading order, as a page of a document. */
export function pageOf(image: string, result: TaskResult): TextPage {
  return { image, ...readingOrder('quads' in result ? result.quads : [], result.imageSize) };
}

/** @throws UsageError for another task than OCR with regions, and for an ALTO document of several images */
export function checkLayout(format: LayoutFormat, tasks: readonly string[], images: number): void {
  if (tasks.length > 1 || tasks[0] !== '<OCR_WITH_REGION>') {
    throw new UsageError('--layout is for --task ocr-with-region alone.');
  }
  if (format === 'alto' && images > 1) {
    throw new UsageError(`--layout alto is a document of one image, but there are ${images}: use hocr or json.`);
  }
}
