import type { OverlayOptions } from 'sharp';
import { resizeBicubic } from '../image/resize.ts';
import type { RawImage } from '../image/types.ts';
import type { TaskResult } from '../results/types.ts';
import type { DrawOptions } from './scene.ts';
import { draw } from './sharp.ts';
import { renderText } from './sharp_text.ts';

/** A drawing of a sheet: results on their image, and a title above. */
export interface Tile {
  title: string;
  image: RawImage;
  results: TaskResult[];
}

/** In pixels: the sides of a drawing, the space between drawings, and the height of a title. */
const [SIDE, GAP, HEADING] = [384, 12, 40];

/** Characters of a title that are shown. */
const LONGEST_TITLE = 60;

/**
 * Draws results side by side, row by row, and returns a PNG file. Long titles are smaller, and cut at 60 characters. Node
 * only.
 */
export async function drawSheet(tiles: readonly Tile[], columns: number, options?: DrawOptions): Promise<Uint8Array> {
  const { default: sharp } = await import('sharp');
  const overlays: OverlayOptions[] = [];
  for (const [i, { title, image, results }] of tiles.entries()) {
    const left = GAP + (i % columns) * (SIDE + GAP);
    const top = Math.floor(i / columns) * (SIDE + HEADING);
    const drawn = sharp(await draw(reduced(image), results, options)).resize(SIDE, SIDE, {
      ...{ fit: 'contain', position: 'top', background: '#ffffff' },
    });
    overlays.push({ input: await heading(title), left, top: top + 10 });
    overlays.push({ input: await drawn.png().toBuffer(), left, top: top + HEADING });
  }
  const across = Math.min(columns, tiles.length);
  const size = { width: GAP + across * (SIDE + GAP), height: Math.ceil(tiles.length / columns) * (SIDE + HEADING) };
  return sharp({ create: { ...size, channels: 3, background: '#ffffff' } })
    .composite(overlays)
    .png({ palette: true, quality: 95 })
    .toBuffer();
}

/** Returns a title as a picture that is at most as wide as a drawing. */
async function heading(title: string): Promise<Buffer> {
  const text = title.length <= LONGEST_TITLE ? title : `${title.slice(0, LONGEST_TITLE - 1)}…`;
  const style = { size: 16, color: '#3f3f46' };
  const { png, width } = await renderText(text, style);
  if (width <= SIDE) return png;
  return (await renderText(text, { ...style, size: Math.floor((style.size * SIDE) / width) })).png;
}

/** Returns the image with at most 400 pixels on its longer side, which `draw` does not enlarge. */
function reduced(image: RawImage): RawImage {
  const scale = 400 / Math.max(image.width, image.height);
  const [width, height] = [image.width, image.height].map(side => Math.max(1, Math.round(side * scale)));
  return scale < 1 ? resizeBicubic(image, width, height) : image;
}
