import { fileURLToPath } from 'node:url';
import { renderText } from '../../src/drawing/sharp_text.ts';
import { PRINTED_WORDS, SIGN_FONTS, type SignFont } from './vocabulary.ts';

/** A word rendered in one of the fonts of signs, cropped to its ink. */
export interface PrintedWord {
  width: number;
  height: number;
  coverage: Uint8Array; // [height, width], 255 is full ink
}

const fontSize = 28; // capitals are 18 to 20 pixels high
const white = '#ffffff';

async function print(word: string, font: SignFont): Promise<PrintedWord> {
  const { default: sharp } = await import('sharp');
  const { png, width, height } =
    font === 'sans' ? await renderText(word, { size: fontSize, color: white }) : await renderIn(font, word);
  const coverage = await sharp(png).extractChannel('alpha').raw().toBuffer();
  return { width, height, coverage: new Uint8Array(coverage) };
}

/** Renders a word in a font of tools/demo/fonts. */
async function renderIn(font: 'slab' | 'hand', word: string): Promise<{ png: Buffer; width: number; height: number }> {
  const { default: sharp } = await import('sharp');
  const fontfile = fileURLToPath(new URL(`fonts/${font}.ttf`, import.meta.url));
  const family = { slab: 'Florence2 Slab', hand: 'Florence2 Hand' }[font];
  const text = { text: `<span foreground="${white}">${word}</span>`, font: `${family} ${fontSize}`, fontfile };
  const { data, info } = await sharp({ text: { ...text, dpi: 72, rgba: true } })
    .png()
    .toBuffer({ resolveWithObject: true });
  return { png: data, width: info.width, height: info.height };
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
