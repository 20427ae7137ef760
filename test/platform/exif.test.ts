import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeImage } from '../../src/image/decode.ts';
import { exifOrientation, withoutExif } from '../../src/platform/exif.ts';
import { imagePath } from '../image/reference_images.ts';

const strip = (bytes: Uint8Array) => new Uint8Array(Buffer.concat(withoutExif(bytes)));

test('JPEG and PNG lose their orientation and keep their pixels', async () => {
  const jpeg = new Uint8Array(readFileSync(imagePath('exif_orientation6.jpg')));
  const png = new Uint8Array(await sharp(imagePath('photo.png')).withMetadata({ orientation: 6 }).png().toBuffer());
  for (const [name, bytes] of Object.entries({ jpeg, png })) {
    assert.is(exifOrientation(bytes), 6, `${name} is turned before`);
    assert.is(exifOrientation(strip(bytes)), 1, name);
    assert.equal(await decodeImage(strip(bytes)), await decodeImage(bytes), name);
  }
});

test('files without EXIF data stay as they are, byte for byte', () => {
  for (const name of ['photo.jpg', 'photo_420_progressive.jpg', 'cmyk.jpg', 'photo.png', 'palette.png']) {
    const bytes = new Uint8Array(readFileSync(imagePath(name)));
    assert.equal(strip(bytes), bytes, name);
  }
});

test('cut files are passed on for the decoder to refuse', () => {
  for (const name of ['exif_orientation6.jpg', 'photo.png']) {
    const bytes = new Uint8Array(readFileSync(imagePath(name)));
    for (const length of [0, 1, 5, 12, 30, 100]) assert.ok(strip(bytes.subarray(0, length)).length <= length);
  }
});

test.run();
