import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeImage } from '../../src/image/decode.ts';
import type { DecodeOptions, ImageInput, RawImage } from '../../src/image/types.ts';
import { referenceJson } from '../reference.ts';
import { describeDifference } from './difference.ts';
import { imageNames, imagePath, referencePixels } from './reference_images.ts';

const { images } = referenceJson('processor/images.json');
const pillow = JSON.parse(readFileSync(new URL('./pillow_cases.json', import.meta.url), 'utf8'));
const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');
const file = (name: string) => new Uint8Array(readFileSync(imagePath(name)));

const folder = mkdtempSync(join(tmpdir(), 'florence2-decode-'));
let server: Server;
let site: string;

test.before(async () => {
  server = createServer((request, response) => {
    if (request.url === '/photo')
      response.end(file('photo.png')); // no extension, no content type
    else if (request.url === '/moved') response.writeHead(302, { location: '/photo' }).end();
    else if (request.url === '/page') response.end('<!DOCTYPE html><html><body>Not an image</body></html>');
    else if (request.url === '/cut')
      response.writeHead(200, { 'content-length': 1e5 }).write('x', () => request.destroy());
    else response.writeHead(404).end('no');
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  site = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

test.after(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true });
});

test('the reference images decode as in Pillow', async () => {
  for (const name of imageNames) {
    const ours = await decodeImage(imagePath(name));
    const { size, lossy_decode, rgb_sha256 } = images[name];
    assert.equal([ours.width, ours.height], size, `${name}: size`);
    if (lossy_decode) {
      const { data } = await referencePixels('decoded_rgb_u8', name);
      assert.is(describeDifference(ours.data, data, 3), '', name); // decoders differ by a few levels
    } else {
      // gray16.png is clipped to 255 as in Pillow; the reference also has a decoding to the high byte.
      assert.is(sha256(ours.data), rgb_sha256, name);
    }
  }
});

test('files of every kind decode as in Pillow', async () => {
  for (const [name, { file, size, sha256: expected }] of Object.entries<Record<string, never>>(pillow)) {
    const ours = await decodeImage(Buffer.from(file!, 'base64'));
    assert.equal([ours.width, ours.height], size, `${name}: size`);
    assert.is(sha256(ours.data), expected, name);
  }
});

/** Files written by Pillow (YCbCr) and tifffile. */
const tiffs: Record<string, string> = JSON.parse(readFileSync(new URL('./tiff_cases.json', import.meta.url), 'utf8'));
const tiff = (name: string) => Buffer.from(tiffs[name], 'base64');

test('YCbCr in a compressed TIFF has the colours of the uncompressed file', async () => {
  for (const name of ['ycbcr_lzw.tif', 'ycbcr_deflate.tif']) {
    assert.equal(await pixels(tiff(name)), await pixels(tiff('ycbcr.tif')), name);
  }
});

test('pixels of a TIFF that cannot be decoded are called unsupported', async () => {
  const cases: [string, RegExp][] = [
    ['zstd.tif', /TIFF image with zstd compression, unsupported: save it as PNG/],
    ['lzma.tif', /TIFF image with LZMA compression, unsupported/],
    ['lab.tif', /TIFF image with CIELAB colours, unsupported/],
  ];
  for (const [name, message] of cases) await refused(tiff(name), message);
  const subsampled = tiff('ycbcr.tif');
  const at = subsampled.indexOf(Uint8Array.of(0x12, 2, 3, 0)); // tag 530 of two shorts
  assert.ok(at > 0);
  subsampled.writeUInt16LE(2, at + 8);
  await refused(subsampled, /subsampled YCbCr colours without JPEG compression, unsupported/);
});

test('AVIF, also in a container of another brand', async () => {
  const source = await sharp(imagePath('photo.jpg')).avif({ quality: 90, chromaSubsampling: '4:4:4' }).toBuffer();
  const { data } = await referencePixels('decoded_rgb_u8', 'photo.jpg');
  const otherBrand = Buffer.from(source);
  otherBrand.write('mif1', 8, 'latin1'); // the compatible brands still name avif
  for (const bytes of [source, otherBrand]) {
    const ours = await decodeImage(bytes);
    assert.equal([ours.width, ours.height], [240, 180]);
    const mean = ours.data.reduce((sum, level, i) => sum + Math.abs(level - data[i]!), 0) / data.length;
    assert.ok(mean < 4, `mean difference ${mean}`);
  }
});

// Where a pixel of the upright picture (w x h) is stored, by the EXIF standard's eight orientations.
const stored: Record<number, (x: number, y: number, w: number, h: number) => [x: number, y: number]> = {
  1: (x, y) => [x, y],
  2: (x, y, w) => [w - 1 - x, y],
  3: (x, y, w, h) => [w - 1 - x, h - 1 - y],
  4: (x, y, _, h) => [x, h - 1 - y],
  5: (x, y) => [y, x],
  6: (x, y, w) => [y, w - 1 - x],
  7: (x, y, w, h) => [h - 1 - y, w - 1 - x],
  8: (x, y, _, h) => [h - 1 - y, x],
};

test('the EXIF orientation is applied on request', async () => {
  const plain = await decodeImage(imagePath('photo.png')); // 123 x 77
  for (const orientation of [1, 2, 3, 4, 5, 6, 7, 8]) {
    const bytes = await sharp(imagePath('photo.png')).withMetadata({ orientation }).png().toBuffer();
    const webp = await sharp(imagePath('photo.png')).withMetadata({ orientation }).webp({ lossless: true }).toBuffer();
    assert.equal(await pixels(webp, { orientation: 'apply' }), await pixels(bytes, { orientation: 'apply' }));
    assert.equal(await pixels(bytes), await pixels(plain), `orientation ${orientation}, not applied`);
    const upright = await decodeImage(bytes, { orientation: 'apply' });
    const [width, height] = orientation > 4 ? [77, 123] : [123, 77];
    assert.equal([upright.width, upright.height], [width, height], `size at orientation ${orientation}`);
    for (const [x, y] of [
      [0, 0],
      [10, 20],
      [width - 1, 5],
      [3, height - 1],
    ] as const) {
      const [sx, sy] = stored[orientation]!(x, y, width, height);
      assert.equal(pixel(upright, x, y), pixel(plain, sx, sy), `pixel ${x}, ${y} at orientation ${orientation}`);
    }
  }
});

test('paths, bytes, URLs, Blobs and raw pixels decode to the same image', async () => {
  const bytes = file('photo.png');
  const base64 = Buffer.from(bytes).toString('base64');
  const around = new Uint8Array(bytes.length + 20); // a view into a larger buffer
  around.set(bytes, 10);
  const inputs: Record<string, ImageInput> = {
    path: imagePath('photo.png'),
    Uint8Array: bytes,
    Buffer: Buffer.from(bytes),
    view: around.subarray(10, 10 + bytes.length),
    'file URL': pathToFileURL(imagePath('photo.png')),
    'file URL as a string': String(pathToFileURL(imagePath('photo.png'))),
    'http URL': `${site}/photo`,
    'URL object': new URL(`${site}/photo`),
    redirect: `${site}/moved`,
    'data URL': `data:image/png;base64,${base64}`,
    'data URL with the wrong type': `data:image/jpeg;base64,${base64}`,
    Blob: new Blob([bytes]),
    'raw pixels': await decodeImage(bytes),
  };
  for (const [name, input] of Object.entries(inputs)) {
    assert.is(sha256((await decodeImage(input)).data), images['photo.png'].rgb_sha256, name);
  }
});

test('file extensions are ignored', async () => {
  const path = join(folder, 'photo.png');
  writeFileSync(path, file('cmyk.jpg'));
  assert.equal(await pixels(path), await pixels(imagePath('cmyk.jpg')));
});

const cut = (name: string, share: number) => file(name).subarray(0, Math.floor(file(name).length * share));
const text = (content: string) => new TextEncoder().encode(content);
const bmp = (edit: (view: DataView) => void) => {
  const bytes = file('photo.bmp');
  edit(new DataView(bytes.buffer));
  return bytes;
};
const gifHead = [...text('GIF89a'), 2, 0, 2, 0, 0x80, 0, 0, 0, 0, 0, 255, 255, 255];

/** Returns a PNG with another size in its header, which decoders check first. */
function png(width: number, height: number): Uint8Array {
  const bytes = file('one_pixel.png');
  new DataView(bytes.buffer).setUint32(16, width);
  new DataView(bytes.buffer).setUint32(20, height);
  return bytes;
}

const malformed: Record<string, [content: Uint8Array, message: RegExp]> = {
  'empty.png': [text(''), /is empty/],
  'notes.jpg': [text('Buy milk.\n'), /is not an image: expected PNG, JPEG/],
  'zeros.png': [new Uint8Array(500), /is not an image/],
  'signature.png': [file('photo.png').subarray(0, 8), /is a damaged or truncated PNG image/],
  'half.png': [cut('photo.png', 0.5), /damaged or truncated PNG image/],
  'half16.png': [cut('gray16.png', 0.5), /damaged or truncated PNG image/],
  'half.jpg': [cut('photo.jpg', 0.5), /damaged or truncated JPEG image/],
  'half_progressive.jpg': [cut('photo_420_progressive.jpg', 0.5), /damaged or truncated JPEG image/],
  'almost.jpg': [cut('cmyk.jpg', 0.99), /damaged or truncated JPEG image/],
  'signature.jpg': [file('photo.jpg').subarray(0, 3), /damaged or truncated JPEG image/],
  'half.webp': [cut('lossy.webp', 0.5), /damaged or truncated WebP image/],
  'half_lossless.webp': [cut('lossless_alpha.webp', 0.5), /damaged or truncated WebP image/],
  'half.gif': [cut('frame.gif', 0.5), /damaged or truncated GIF image .*truncated/],
  'head.gif': [Uint8Array.from(gifHead), /damaged or truncated GIF image.*ends before the first image/],
  'no_picture.gif': [Uint8Array.from([...gifHead, 0x3b]), /damaged or truncated GIF image.*no image/],
  'codes.gif': [
    Uint8Array.from([...gifHead, 0x2c, 0, 0, 0, 0, 2, 0, 2, 0, 0, 2, 2, 0xff, 0xff, 0]),
    /pixels are damaged/,
  ],
  'code_size.gif': [Uint8Array.from([...gifHead, 0x2c, 0, 0, 0, 0, 2, 0, 2, 0, 0, 40, 1, 0, 0]), /code size of 40/],
  'no_pixels.gif': [
    Uint8Array.from([...text('GIF89a'), 0, 0, 0, 0, 0, 0, 0, 0x2c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]),
    /has no pixels: its size is 0 x 0/,
  ],
  'half.bmp': [cut('photo.bmp', 0.5), /damaged or truncated BMP image.*pixels are truncated/],
  'head.bmp': [file('photo.bmp').subarray(0, 30), /damaged or truncated BMP image.*header is truncated/],
  'depth.bmp': [bmp(view => view.setUint16(28, 7, true)), /7 bits with compression 0 are not supported/],
  'jpeg_inside.bmp': [bmp(view => view.setUint32(30, 4, true)), /24 bits with compression 4 are not supported/],
  'negative.bmp': [bmp(view => view.setInt32(18, -5, true)), /size -5 x 67 is not possible/],
  'huge.bmp': [bmp(view => view.setInt32(18, 2e9, true)), /2000000000 x 67 pixels, more than the limit of 178956970/],
  'huge.png': [png(30_000, 30_000), /30000 x 30000 pixels, more than the limit of 178956970/],
  'no_pixels.png': [png(0, 10), /is a damaged or truncated PNG image/],
  'paper.pdf': [text('%PDF-1.7\n%âãÏÓ'), /is a PDF document: render its pages/],
  'drawing.svg': [
    text('<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'),
    /is an SVG drawing/,
  ],
  'page.png': [text('<!doctype html><title>404</title>'), /is a web page/],
  'phone.heic': [text('\0\0\0\x18ftypheic\0\0\0\0mif1heic'), /is a HEIC image/],
  'phone.heif': [text('\0\0\0\x18ftypmif1\0\0\0\0mif1heic'), /is a HEIC image/],
  'moving.avif': [text('\0\0\0\x18ftypavis\0\0\0\0avifavis'), /is an animated AVIF/],
  'half.avif': [text('\0\0\0\x18ftypavif\0\0\0\0avifmif1'), /damaged or truncated AVIF image/],
  'film.mp4': [text('\0\0\0\x18ftypisom\0\0\0\0isomavc1'), /is a video: extract a frame/],
  'pointer.png': [
    text('version https://git-lfs.github.com/spec/v1\noid sha256:0'),
    /Git LFS pointer: run `git lfs pull`/,
  ],
  'pictures.zip': [text('PK\x03\x04...'), /is an archive/],
  'favicon.ico': [Uint8Array.of(0, 0, 1, 0, 1, 0, 16, 16), /is a Windows icon/],
  'layers.psd': [text('8BPS\0\x01'), /Photoshop/],
  'half.tif': [new Uint8Array(0), /damaged or truncated TIFF image/], // filled in below
  'head.tif': [text('II*\0\x08\0\0\0'), /damaged or truncated TIFF image/],
};
malformed['half.tif']![0] = await (async () => {
  const whole = await sharp(imagePath('photo.png')).tiff({ compression: 'none' }).toBuffer();
  return whole.subarray(0, whole.length - 2000);
})();

test('the error for a malformed file has its name and the reason', async () => {
  for (const [name, [content, message]] of Object.entries(malformed)) {
    const path = join(folder, name);
    writeFileSync(path, content);
    await refused(path, new RegExp(`${name} .*${message.source}`));
  }
});

test('the error for an unreadable input has its name and the reason', async () => {
  mkdirSync(join(folder, 'pictures.png'));
  const port = await freePort();
  const photo = file('photo.png');
  const inputs: [input: unknown, message: RegExp][] = [
    [join(folder, 'missing.png'), /missing.png does not exist/],
    [pathToFileURL(join(folder, 'missing.png')), /missing.png does not exist/],
    ['file://elsewhere/photo.png', /^file:\/\/elsewhere\/photo.png cannot be read: File URL host must be/],
    ['photo\0.png', /cannot be read: .*null bytes/],
    [join(folder, 'pictures.png'), /pictures.png cannot be read: it is a folder, not a file/],
    [join(folder, 'empty.png', 'photo.png'), /does not exist/],
    [`${site}/gone.png`, /gone.png cannot be read: the server answered 404 Not Found/],
    [`${site}/page`, /page is a web page: give the URL of the image itself/],
    [`${site}/cut`, /cut cannot be read: /],
    [`http://127.0.0.1:${port}/photo.png`, /photo.png cannot be read: connect ECONNREFUSED/],
    ['http://[/photo.png', /cannot be read: Invalid URL/],
    ['data:image/png;base64,@@@', /^data:image\/png;base64,… cannot be read/],
    [`data:image/png,${'x'.repeat(500)}`, /^data:image\/png,… is not an image/],
    [photo.subarray(0, 100), /^The given data is a damaged or truncated PNG image/],
    [{ data: photo, width: 2, height: 2 }, /needs 12 bytes of RGB/],
    [42, /must be a path, a URL, the bytes of an image file/],
    [null, /must be a path, a URL, the bytes of an image file/],
  ];
  for (const [input, message] of inputs) await refused(input as ImageInput, message);
});

test('maxPixels sets the limit', async () => {
  for (const name of ['photo.png', 'photo.bmp', 'frame.gif']) {
    const { width, height } = await decodeImage(imagePath(name));
    await decodeImage(imagePath(name), { maxPixels: width * height });
    await refused(imagePath(name), /pixels, more than the limit of/, { maxPixels: width * height - 1 });
  }
});

async function refused(input: ImageInput, message: RegExp, options = {}): Promise<void> {
  let error: Error | undefined;
  await decodeImage(input, options).catch(e => {
    error = e;
  });
  assert.ok(error, `no error, expected ${message}`);
  assert.match(error.name, /^(Florence2Error|UsageError)$/, error.stack);
  assert.match(error.message, message);
  assert.not.match(error.message, /\n/);
}

async function freePort(): Promise<number> {
  const free = createServer();
  await new Promise<void>(resolve => free.listen(0, '127.0.0.1', resolve));
  const { port } = free.address() as AddressInfo;
  await new Promise(resolve => free.close(resolve));
  return port;
}

const pixels = async (input: ImageInput, options?: DecodeOptions) => sha256((await decodeImage(input, options)).data);
const pixel = ({ data, width }: RawImage, x: number, y: number) => [
  ...data.subarray((y * width + x) * 3).subarray(0, 3),
];

test('comments before something else than <svg are skipped in time', async () => {
  const start = performance.now();
  await refused(Buffer.from(`${'<!---->'.repeat(40)}x`), /is not an image: expected PNG/);
  const drawing = `<?xml version="1.0"?>\n<!-- a -->\n<!DOCTYPE svg PUBLIC "x">${'<!---->'.repeat(40)}<svg width="1">`;
  await refused(Buffer.from(drawing), /is an SVG drawing/);
  assert.ok(performance.now() - start < 1000);
});

test('a GIF whose data are too short for its pixels is refused before memory is allocated', async () => {
  const side = (n: number) => [n & 255, n >> 8];
  const size = [...side(13_000), ...side(13_000)];
  const gif = [...Buffer.from('GIF89a'), ...size, 0, 0, 0, 0x2c, 0, 0, 0, 0, ...size, 0, 8, 4, 1, 2, 3, 4, 0, 0x3b];
  const before = process.memoryUsage().arrayBuffers;
  await refused(Uint8Array.from(gif), /damaged or truncated GIF image \(the pixels are truncated\)/);
  assert.ok(process.memoryUsage().arrayBuffers - before < 50e6);
});

test('a download of an image stops at the limit', async () => {
  let sent = 0;
  const chunk = new Uint8Array(8 << 20);
  const endless = createServer((_, response) => {
    const more = (): void => {
      while (!response.destroyed && sent < 2 ** 31 && response.write(chunk)) sent += chunk.length;
      if (!response.destroyed) response.once('drain', more);
    };
    more();
  });
  await new Promise<void>(resolve => endless.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(endless.address() as AddressInfo).port}/a.png`;
  await refused(url, /a\.png is longer than the limit of 536870912 bytes/);
  assert.ok(sent < 700e6, String(sent));
  endless.closeAllConnections();
  endless.close();
});

test.run();
