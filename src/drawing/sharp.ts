import type { OverlayOptions } from 'sharp';
import type { Mask } from '../geometry/masks.ts';
import type { RawImage } from '../image/types.ts';
import type { TaskResult } from '../results/types.ts';
import { buildScene, type DrawOptions } from './scene.ts';
import { renderText } from './sharp_text.ts';
import { shapesSvg } from './svg.ts';

/**
 * Draws results on their image, or on a copy of it in another size, and returns a PNG file: boxes, quads and polygons
 * with labels, and texts in a strip below the image, which also says which results are empty. Node only.
 *
 * Labels are outside their objects if there is room, small boxes are drawn around their objects, and colours differ from
 * what is under them. Lines and letters follow the size of the image. An image with fewer than 400 pixels on its longer side is enlarged by
 * a whole factor so that labels can be read, and one with more than 16,384 is reduced. All others keep their size; the
 * strip adds to the height. The package includes a font for Latin, Greek and Cyrillic letters; other scripts need a
 * system font.
 *
 * @throws UsageError if the number of pixels does not fit the size of the image
 */
export async function draw(
  image: RawImage,
  results: TaskResult | TaskResult[],
  options: DrawOptions = {},
): Promise<Uint8Array> {
  const { default: sharp } = await import('sharp');
  const scene = await buildScene(image, Array.isArray(results) ? results : [results], options, renderText);
  const { outlines, labels, caption } = scene;
  const overlays: OverlayOptions[] = labels.map(({ text, textLeft: left, textTop: top }) => ({
    input: text.png,
    left,
    top,
  }));
  if (outlines.length > 0) overlays.unshift({ input: Buffer.from(shapesSvg(scene)) });

  const { data, width, height } = scene.image;
  const raw = { width, height, channels: 3 as const };
  const drawn = sharp(data, { raw, limitInputPixels: false }).composite(overlays).removeAlpha();
  if (!caption) return drawn.png().toBuffer();
  return sharp(await drawn.raw().toBuffer(), { raw, limitInputPixels: false })
    .extend({ bottom: caption.height, right: caption.width - width, background: caption.background })
    .composite([{ input: caption.text.png, left: caption.margin, top: height + caption.margin }])
    .png()
    .toBuffer();
}

/** Returns a mask as a PNG file of 8-bit grey pixels: 255 inside, 0 outside. Node only. */
export async function encodeMask({ data, width, height }: Mask): Promise<Uint8Array> {
  const { default: sharp } = await import('sharp');
  const grey = data.map(value => (value === 0 ? 0 : 255));
  return sharp(grey, { raw: { width, height, channels: 1 }, limitInputPixels: false })
    .toColourspace('b-w')
    .png()
    .toBuffer();
}
