import type { RawImage } from '../image/types.ts';
import type { ReportImage } from './report.ts';

/** Longest side of the picture in the page, in pixels: a report stays small. */
const LONGEST = 1280;

/** An image as it stands in the page. Small ones keep all of their pixels as they are. */
export async function reportImage(name: string, { data, width, height }: RawImage): Promise<ReportImage> {
  const { default: sharp } = await import('sharp');
  const raw = { width, height, channels: 3 as const };
  const image = sharp(data, { raw, limitInputPixels: false });
  const isSmall = width * height <= 256 * 256;
  const file = isSmall
    ? await image.png().toBuffer()
    : await image
        .resize({ width: LONGEST, height: LONGEST, fit: 'inside', withoutEnlargement: true })
        .jpeg({ quality: 86 })
        .toBuffer();
  return { name, width, height, src: `data:image/${isSmall ? 'png' : 'jpeg'};base64,${file.toString('base64')}` };
}
