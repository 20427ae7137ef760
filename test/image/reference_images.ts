import { decodeImage } from '../../src/image/decode.ts';
import type { RawImage } from '../../src/image/types.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { reference, referenceJson } from '../reference.ts';

/** The 24 images of the reference. (Keys with # are other decodings of the same file.) */
export const imageNames: string[] = Object.keys(referenceJson('processor/images.json').images).filter(
  name => !name.includes('#'),
);
if (imageNames.length !== 24) throw new Error(`${imageNames.length} reference images, expected 24`);

export const imagePath = (name: string): string => reference(`processor/images/${name}`);

/** Reads a tensor [H, W, 3] from one of the reference's files of pixels. */
export async function referencePixels(file: 'decoded_rgb_u8' | 'resized_rgb_u8', name: string): Promise<RawImage> {
  const tensors = await openSafetensors(reference(`processor/${file}.safetensors`));
  try {
    const [height, width] = tensors.tensors.get(name)!.shape as [number, number, number];
    return { data: Uint8Array.from(await tensors.readInt32(name)), width, height };
  } finally {
    await tensors.close();
  }
}

/** Returns a reference image as decoded by Pillow: recorded pixels for lossy formats, decodeImage's for the others. */
export async function referenceImage(name: string): Promise<RawImage> {
  const lossy: boolean = referenceJson('processor/images.json').images[name].lossy_decode;
  return lossy ? referencePixels('decoded_rgb_u8', name) : decodeImage(imagePath(name));
}
