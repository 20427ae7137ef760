import { renderText } from '../../src/drawing/sharp_text.ts';
import { PRINTED_WORDS } from './vocabulary.ts';

/** A word rendered in the package's font, cropped to its ink. */
export interface PrintedWord {
  width: number;
  height: number;
  coverage: Uint8Array; // [height, width], 255 is full ink
}

const fontSize = 28; // capitals are 20 pixels high

async function print(word: string): Promise<PrintedWord> {
  const { default: sharp } = await import('sharp');
  const { png, width, height } = await renderText(word, { size: fontSize, color: '#ffffff' });
  const coverage = await sharp(png).extractChannel('alpha').raw().toBuffer();
  return { width, height, coverage: new Uint8Array(coverage) };
}

/** Every word of the scenes, rendered once at import, so that scenes can be drawn synchronously. */
export const printedWords: ReadonlyMap<string, PrintedWord> = new Map(
  await Promise.all(PRINTED_WORDS.map(async word => [word, await print(word)] as const)),
);
