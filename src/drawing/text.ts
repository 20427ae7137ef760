import { fileURLToPath } from 'node:url';

/** sharp sets text with the system's fonts, and without any it draws empty boxes: so letters come with the package. */
const fontFile = fileURLToPath(new URL('../../src/drawing/font/label-font.ttf', import.meta.url));
const family = 'Florence2 Labels';

export interface RenderedText {
  png: Buffer; // cut to the ink
  width: number;
  height: number;
}

interface TextStyle {
  size: number; // pixels
  color: string;
  width?: number; // lines are broken to this
}

/** Sets a text on transparent ground. Nothing is drawn of a text without ink (1 x 1 transparent pixel). */
export async function renderText(text: string, { size, color, width }: TextStyle): Promise<RenderedText> {
  const { default: sharp } = await import('sharp');
  const readable = printable(text);
  if (readable === '') return { png: await sharp(blank).png().toBuffer(), width: 1, height: 1 };
  const markup = `<span foreground="${color}">${escapeXml(readable)}</span>`;
  // At 72 dots per inch a point is a pixel.
  const options = { text: markup, font: `${family} ${size}`, fontfile: fontFile, dpi: 72, rgba: true } as const;
  const wrap = width === undefined ? {} : { width: Math.max(1, Math.floor(width)), wrap: 'word-char' as const };
  const { data, info } = await sharp({ text: { ...options, ...wrap } })
    .png()
    .toBuffer({ resolveWithObject: true });
  return { png: data, width: info.width, height: info.height };
}

const blank = { create: { width: 1, height: 1, channels: 4, background: '#0000' } } as const;

export const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Without what XML cannot hold: control characters (lines end in \n alone), halves of surrogate pairs, non-characters. */
const printable = (text: string): string =>
  text
    .replace(/\r\n?|[\u0085\u2028\u2029]/g, '\n')
    .replace(/[\t\v\f]/g, ' ')
    .replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '')
    .replace(/[\ud800-\udfff\ufffe\uffff]/gu, '\ufffd')
    .trim();
