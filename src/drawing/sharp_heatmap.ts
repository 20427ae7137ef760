import type { OverlayOptions } from 'sharp';
import { decodeImage } from '../image/decode.ts';
import { resizeBicubic } from '../image/resize.ts';
import type { ImageInput, RawImage } from '../image/types.ts';
import { checkKind, checkOptions } from '../options.ts';
import {
  colorBar,
  HEATMAP,
  HEATMAP_OPTIONS,
  type Heatmap,
  type HeatmapOptions,
  type HeatScale,
  heatmapColors,
  heatScale,
} from './heatmap.ts';
import { CAPTION_COLORS, drawingSize, letterSize } from './scene.ts';
import { renderText } from './sharp_text.ts';

/** Grey levels of black and white in the picture under a map: darker than the map's strong colours. */
const LEVELS = [35, 165] as const;

/**
 * Draws a map over its image and returns a PNG file: the image in dark grey, enlarged like that of `draw`, the map over
 * it, and below it a colour bar with the range of values. Larger values are less transparent; positive values have warm
 * colours, negative values cold ones. Node only.
 *
 * @throws Florence2Error if the image cannot be read, UsageError if the number of values does not fit the map's size
 */
export async function drawHeatmap(image: ImageInput, map: Heatmap, options: HeatmapOptions = {}): Promise<Uint8Array> {
  checkOptions('drawHeatmap', options, HEATMAP_OPTIONS);
  checkKind('map', map, HEATMAP);
  const { opacity, max, bar = true, cells = false, ...decoding } = options;
  const scale = heatScale(map, { opacity, max });
  const { default: sharp } = await import('sharp');
  const decoded = await decodeImage(image, decoding);
  const { width, height } = drawingSize(decoded);
  const grey = dimmed(resizeBicubic(decoded, width, height));
  const overlays = [
    await stretched(map, scale, { left: 0, top: 0, width, height, kernel: cells ? 'nearest' : 'cubic' }),
  ];
  const strip = bar ? await barOverlays(scale, { top: height, width, size: letterSize({ width, height }) }) : undefined;
  return sharp(grey, { raw: { width, height, channels: 3 }, limitInputPixels: false })
    .extend({ bottom: strip?.height ?? 0, background: CAPTION_COLORS.background })
    .composite([...overlays, ...(strip?.overlays ?? [])])
    .removeAlpha()
    .png()
    .toBuffer();
}

/** Returns the pixels of an image in dark grey, [H, W, 3], by the luma weights of ITU-R BT.601. */
function dimmed({ data }: RawImage): Uint8Array {
  const [black, white] = LEVELS;
  const grey = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i += 3) {
    const luma = 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
    grey.fill(Math.round(black + ((white - black) * luma) / 255), i, i + 3);
  }
  return grey;
}

/** Returns a map's colours, stretched over a rectangle. */
async function stretched(
  map: Heatmap,
  scale: HeatScale,
  to: { left: number; top: number; width: number; height: number; kernel: 'nearest' | 'cubic' },
): Promise<OverlayOptions> {
  const { left, top, width, height, kernel } = to;
  const { default: sharp } = await import('sharp');
  const colors = sharp(heatmapColors(map, scale), { raw: { width: map.width, height: map.height, channels: 4 } });
  const input = await colors.resize(width, height, { fit: 'fill', kernel }).raw().toBuffer();
  return { input, raw: { width, height, channels: 4 }, left, top };
}

/** Returns the strip with the colour bar: the texts of its ends and its 0 are below it. */
async function barOverlays(
  scale: HeatScale,
  { top, width, size }: { top: number; width: number; size: number },
): Promise<{ height: number; overlays: OverlayOptions[] }> {
  const margin = Math.round(size);
  const length = width - 2 * margin;
  const { values, texts } = colorBar(scale, length);
  const bar = { left: margin, top: top + margin, width: length, height: margin, kernel: 'nearest' as const };
  const blocks = await Promise.all(texts.map(text => renderText(text, { size, color: CAPTION_COLORS.text })));
  const overlays = blocks.map((block, i): OverlayOptions => {
    const share = i / (blocks.length - 1); // the first text is flush with the bar's left end, the last with its right one
    const left = Math.max(0, margin + Math.round(share * (length - block.width)));
    return { input: block.png, left, top: bar.top + bar.height + Math.round(size / 2) };
  });
  const height = 3 * margin + Math.round(size / 2) + Math.max(...blocks.map(block => block.height));
  return { height, overlays: [await stretched(values, scale, bar), ...overlays] };
}
