import { fileURLToPath } from 'node:url';
import { escapeXml } from '../text/xml.ts';
import type { TextBlock, TextStyle } from './labels.ts';

/** A font in a file. */
export interface FontFile {
  family: string;
  file: string;
}

/** The package brings its own font, because sharp draws empty boxes on a machine without fonts. */
const LABEL_FONT: FontFile = {
  family: 'Florence2 Labels',
  file: fileURLToPath(new URL('../../src/drawing/font/label-font.ttf', import.meta.url)),
};

/** A text as a transparent picture, cropped to its ink. */
export interface RenderedText extends TextBlock {
  png: Buffer;
}

/** Renders a text with sharp. A text without ink is one transparent pixel. */
export async function renderText(
  text: string,
  { size, color, width }: TextStyle,
  { family, file }: FontFile = LABEL_FONT,
): Promise<RenderedText> {
  const { default: sharp } = await import('sharp');
  const readable = printable(text);
  if (readable === '') return { png: await sharp(BLANK).png().toBuffer(), width: 1, height: 1 };
  const markup = `<span foreground="${color}">${escapeXml(readable)}</span>`;
  // At 72 dots per inch a point is a pixel.
  const options = { text: markup, font: `${family} ${size}`, fontfile: file, dpi: 72, rgba: true } as const;
  const wrap = width === undefined ? {} : { width: Math.max(1, Math.floor(width)), wrap: 'word-char' as const };
  const { data, info } = await sharp({ text: { ...options, ...wrap } })
    .png()
    .toBuffer({ resolveWithObject: true });
  return { png: data, width: info.width, height: info.height };
}

const BLANK = { create: { width: 1, height: 1, channels: 4, background: '#0000' } } as const;

/**
 * Normalises line ends to \n and removes what XML does not allow: control characters, lone surrogates, non-characters.
 */
const printable = (text: string): string =>
  text
    .replace(/\r\n?|[\u0085\u2028\u2029]/g, '\n')
    .replace(/[\t\v\f]/g, ' ')
    .replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '')
    .replace(/[\ud800-\udfff\ufffe\uffff]/gu, '\ufffd')
    .trim();
