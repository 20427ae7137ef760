import { renderText } from '../../src/drawing/sharp_text.ts';
import { PRINTED_WORDS } from './vocabulary.ts';

/** A word set in the package's letters, cut to its ink. */
export interface PrintedWord {
  width: number;
  height: number;
  coverage: Uint8Array; // [height, width], 255 where the ink is whole
}

const fontSize = 28; // capitals of 20 pixels

async function print(word: string): Promise<PrintedWord> {
  const { default: sharp } = await import('sharp');
  const { png, width, height } = await renderText(word, { size: fontSize, color: '#ffffff' });
  const coverage = await sharp(png).extractChannel('alpha').raw().toBuffer();
  return { width, height, coverage: new Uint8Array(coverage) };
}

/** Every word that scenes have, set once: scenes are then drawn without waiting for anything. */
export const printedWords: ReadonlyMap<string, PrintedWord> = new Map(
  await Promise.all(PRINTED_WORDS.map(async word => [word, await print(word)] as const)),
);
