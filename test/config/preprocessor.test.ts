import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parsePreprocessorConfig } from '../../src/config/preprocessor.ts';
import { literally, refuses } from '../weights/temporary.ts';

type Json = Record<string, unknown>;

const own = {
  ...{ height: 768, width: 768, rescaleFactor: 1 / 255 },
  ...{ imageMean: [0.485, 0.456, 0.406], imageStd: [0.229, 0.224, 0.225] },
};

/** Microsoft's published file without its lists of keys. */
const published: Json = {
  ...{ auto_map: { AutoProcessor: 'processing_florence2.Florence2Processor' }, crop_size: { height: 768, width: 768 } },
  ...{ do_center_crop: false, do_convert_rgb: null, do_normalize: true, do_rescale: true, do_resize: true },
  ...{ image_mean: [0.485, 0.456, 0.406], image_std: [0.229, 0.224, 0.225], image_seq_length: 577 },
  ...{ image_processor_type: 'CLIPImageProcessor', resample: 3, rescale_factor: 0.00392156862745098 },
  size: { height: 768, width: 768 },
};

test('settings are read', () => {
  const cases: [json: Json, expected: object][] = [
    [{}, own],
    [published, own],
    [{ processor_class: 'Florence2Processor', image_processor: published, num_additional_image_tokens: 1 }, own],
    [
      { ...published, size: { height: 512, width: 1024 } },
      { ...own, height: 512, width: 1024 },
    ],
    [{ size: 384 }, { ...own, height: 384, width: 384 }],
    [{ ...published, do_center_crop: true }, own],
    [{ do_rescale: false }, { ...own, rescaleFactor: 1 }],
    [{ rescale_factor: 1 / 127.5 }, { ...own, rescaleFactor: 1 / 127.5 }],
    [{ do_normalize: false }, { ...own, imageMean: [0, 0, 0], imageStd: [1, 1, 1] }],
    [
      { image_mean: 0.5, image_std: [0.5, 0.25, 1] },
      { ...own, imageMean: [0.5, 0.5, 0.5], imageStd: [0.5, 0.25, 1] },
    ],
  ];
  for (const [json, expected] of cases) assert.equal(parsePreprocessorConfig(json), expected, JSON.stringify(json));
});

test('unsupported and invalid settings are refused', async () => {
  const cases: [json: Json, problem: string][] = [
    [
      { size: { shortest_edge: 768 } },
      'size is {"shortest_edge":768}, expected height and width: Florence-2 resizes to one size.',
    ],
    [{ size: { height: 768 } }, 'size.width is missing, expected a whole number of at least 1.'],
    [{ size: { height: 0, width: 768 } }, 'size.height is 0, expected'],
    [{ size: '768' }, 'size is "768", expected an object.'],
    [{ size: 1.5 }, 'size is 1.5, expected a whole number'],
    [{ resample: 2 }, 'resample is 2; only 3 is supported: Florence-2 was trained with bicubic'],
    [{ do_resize: false }, 'do_resize is false; only true'],
    [{ do_pad: true }, 'do_pad is true; only false'],
    [
      { size: 768, do_center_crop: true, crop_size: 224 },
      'crop_size is 224×224, size is 768×768: cropping is not supported.',
    ],
    [{ image_mean: [0.5, 0.5] }, 'image_mean is [0.5,0.5], expected a list of 3 numbers.'],
    [{ image_std: [0.2, 0, 0.2] }, 'image_std is [0.2,0,0.2], expected numbers above 0.'],
    [{ image_std: 'imagenet' }, 'image_std is "imagenet", expected a list of 3 numbers.'],
    [{ do_rescale: 1 }, 'do_rescale is 1, expected true or false.'],
    [{ image_processor: { size: { width: 5 } } }, 'image_processor.size.height is missing'],
  ];
  for (const [json, problem] of cases) {
    await refuses(problem, () => parsePreprocessorConfig(json, 'p.json'), 'p.json: ', new RegExp(literally(problem)));
  }
});

test.run();
