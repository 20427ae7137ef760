import { Fields, isRecord } from '../json.ts';
import { show } from '../show.ts';

/** How an image is turned into the model's input. */
export interface PreprocessorConfig {
  /** Height in pixels to which every image is resized, bicubic as in Pillow, ignoring its aspect ratio. Default 768. */
  readonly height: number;
  /** Width in pixels to which every image is resized. Default 768. */
  readonly width: number;
  /** Factor by which values 0 to 255 are multiplied first. Default 1/255. */
  readonly rescaleFactor: number;
  /** Mean of each channel R, G, B, subtracted after rescaling. Default ImageNet's. */
  readonly imageMean: [number, number, number];
  /** Standard deviation of each channel, by which the difference is divided. Default ImageNet's. */
  readonly imageStd: [number, number, number];
}

/** Florence-2's own settings, for checkpoints without a preprocessor_config.json. */
const defaults: PreprocessorConfig = {
  height: 768,
  width: 768,
  rescaleFactor: 1 / 255,
  imageMean: [0.485, 0.456, 0.406],
  imageStd: [0.229, 0.224, 0.225],
};

const bicubic = 3; // Pillow's id of the filter

/**
 * Parses preprocessor_config.json, or processor_config.json if that contains an `image_processor`.
 *
 * @param json the parsed file; `{}` for Florence-2's own settings
 * @throws Florence2Error naming the file, the field and what was expected
 */
export function parsePreprocessorConfig(json: unknown, file = 'preprocessor_config.json'): PreprocessorConfig {
  const root = new Fields(isRecord(json) ? json : {}, file);
  const f = root.has('image_processor') ? root.object('image_processor') : root;
  f.only('do_resize', [true], 'the model needs images of one size');
  f.only('resample', [bicubic], 'Florence-2 was trained with bicubic resizing');
  f.only('do_pad', [false], 'images are resized to the full size');
  f.only('do_convert_rgb', [true, false], 'images are always converted to RGB');
  const size = parseSize(f, 'size') ?? defaults;
  if (f.boolean('do_center_crop', false)) {
    const crop = parseSize(f, 'crop_size') ?? size;
    if (crop.height !== size.height || crop.width !== size.width) {
      f.fail(
        'crop_size',
        `is ${crop.width}×${crop.height}, size is ${size.width}×${size.height}: cropping is not supported`,
      );
    }
  }
  const rescale = f.boolean('do_rescale', true);
  const normalize = f.boolean('do_normalize', true);
  return {
    height: size.height,
    width: size.width,
    rescaleFactor: rescale ? f.number('rescale_factor', defaults.rescaleFactor) : 1,
    imageMean: normalize ? perChannel(f, 'image_mean', defaults.imageMean) : [0, 0, 0],
    imageStd: normalize ? deviation(f) : [1, 1, 1],
  };
}

/** Reads a size: one number, or an object with height and width. */
function parseSize(f: Fields, name: string): { height: number; width: number } | undefined {
  const value = f.raw(name);
  if (value === undefined) return undefined;
  if (typeof value === 'number') return { height: f.integer(name, 1), width: f.integer(name, 1) };
  if (isRecord(value) && value.height === undefined && value.width === undefined) {
    f.fail(name, `is ${show(value)}, expected height and width: Florence-2 resizes to one size`);
  }
  const size = f.object(name);
  return { height: size.integer('height', 1), width: size.integer('width', 1) };
}

/** Reads three numbers, or one number for all channels. */
function perChannel(f: Fields, name: string, fallback: number[]): [number, number, number] {
  const value = f.raw(name);
  if (typeof value === 'number') return [value, value, value];
  return f.numbers(name, 3, fallback) as [number, number, number];
}

function deviation(f: Fields): [number, number, number] {
  const std = perChannel(f, 'image_std', defaults.imageStd);
  if (std.some(value => value <= 0)) f.fail('image_std', `is ${show(std)}, expected numbers above 0`);
  return std;
}
