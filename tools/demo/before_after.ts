import { draw } from '../../src/drawing/sharp.ts';
import { renderText } from '../../src/drawing/sharp_text.ts';
import type { Detected } from './measure_shape.ts';

const tile = 384; // pixels
const gap = 8;
const heading = 44; // pixels left of a row
const paper = '#ffffff';
const ink = '#3f3f46';

/** Draws the detections before and after as two rows with the same images. Returns a PNG file. */
export async function drawBeforeAfter(before: readonly Detected[], after: readonly Detected[]): Promise<Uint8Array> {
  const { default: sharp } = await import('sharp');
  const rows = { before, after };
  const overlays = Object.entries(rows).map(async ([name, detected], row) => {
    const top = row * (tile + gap);
    const { data, info } = await sharp((await renderText(name, { size: 26, color: ink })).png)
      .rotate(270)
      .toBuffer({ resolveWithObject: true });
    const word = {
      ...{ input: data, left: Math.round((heading - info.width) / 2) },
      top: top + Math.round((tile - info.height) / 2),
    };
    const tiles = detected.map(async ({ image, result }, column) => {
      const drawn = sharp(await draw(image, result, { scores: false })).resize(tile, tile);
      return { input: await drawn.png().toBuffer(), left: heading + column * (tile + gap), top };
    });
    return [word, ...(await Promise.all(tiles))];
  });
  const width = heading + before.length * (tile + gap) - gap;
  return sharp({ create: { width, height: 2 * tile + gap, channels: 3, background: paper } })
    .composite((await Promise.all(overlays)).flat())
    .png({ palette: true, quality: 95 })
    .toBuffer();
}
