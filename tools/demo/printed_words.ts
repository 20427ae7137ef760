import { fileURLToPath } from 'node:url';
import { type FontFile, renderText } from '../../src/drawing/sharp_text.ts';
import { PRINTED_WORDS, SIGN_FONTS, type SignFont } from './vocabulary.ts';

/** A word rendered in one of the fonts of signs, cropped to its ink. */
export interface PrintedWord {
  width: number;
  height: number;
  coverage: Uint8Array; // [height, width], 255 is full ink
}

const fontSize = 28; // capitals are 18 to 20 pixels high

const fontFile = (name: string) => fileURLToPath(new URL(`fonts/${name}.ttf`, import.meta.url));

/** The fonts of tools/demo/fonts; `sans` is the font of labels. */
const fonts: Record<SignFont, FontFile | undefined> = {
  sans: undefined,
  slab: { family: 'Florence2 Slab', file: fontFile('slab') },
  hand: { family: 'Florence2 Hand', file: fontFile('hand') },
};

async function print(word: string, font: SignFont): Promise<PrintedWord> {
  const { default: sharp } = await import('sharp');
  const { png, width, height } = await renderText(word, { size: fontSize, color: '#ffffff' }, fonts[font]);
  const coverage = await sharp(png).extractChannel('alpha').raw().toBuffer();
  return { width, height, coverage: new Uint8Array(coverage) };
}

/** Every word of the scenes in each font and both cases, rendered once at import, so that scenes are drawn synchronously. */
const rendered: ReadonlyMap<string, PrintedWord> = new Map(
  await Promise.all(
    SIGN_FONTS.flatMap(font => {
      const words = [...PRINTED_WORDS, ...PRINTED_WORDS.map(word => word.toLowerCase())];
      return words.map(async word => [`${font} ${word}`, await print(word, font)] as const);
    }),
  ),
);

/** Returns a word of `PRINTED_WORDS`, in capitals or small letters, rendered in a font. */
export const printedWord = (word: string, font: SignFont): PrintedWord => rendered.get(`${font} ${word}`)!;
