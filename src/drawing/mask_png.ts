import type { Mask } from '../geometry/masks.ts';

/** A mask as a PNG file of 8-bit grey: 255 inside, 0 outside. */
export async function encodeMask({ data, width, height }: Mask): Promise<Uint8Array> {
  const { default: sharp } = await import('sharp');
  const grey = data.map(value => (value === 0 ? 0 : 255));
  return sharp(grey, { raw: { width, height, channels: 1 }, limitInputPixels: false })
    .toColourspace('b-w')
    .png()
    .toBuffer();
}
