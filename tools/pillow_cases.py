"""Writes test/image/pillow_cases.json: small image files of every kind, and how Pillow decodes them.

    pip install pillow==12.0.0 numpy && python tools/pillow_cases.py

Each case: `file` (base64), `size` [width, height], `sha256` of `Image.open(file).convert('RGB').tobytes()`.
All decoders agree on these files to the last bit. JPEG and lossy WebP are in test/reference.
"""

import base64, hashlib, io, json, pathlib, struct, zlib

import numpy as np
from PIL import Image

W, H = 17, 11
rng = np.random.default_rng(0)
cases = {}


def add(name, data):
    image = Image.open(io.BytesIO(data))
    rgb = image.convert('RGB')
    cases[name] = dict(
        mode=image.mode, size=rgb.size, sha256=hashlib.sha256(rgb.tobytes()).hexdigest(), file=base64.b64encode(data).decode()
    )


def save(name, image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    add(name, out.getvalue())


def picture():
    y, x = np.mgrid[0:H, 0:W]
    levels = np.stack([x * 15, y * 23, (x + y) * 9], -1) + rng.normal(0, 6, (H, W, 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


rgb = picture()
rgba = rgb.copy()
rgba.putalpha(Image.fromarray((np.mgrid[0:H, 0:W][1] * 15).astype(np.uint8)))
wide = Image.fromarray((np.mgrid[0:H, 0:W][1] * 4000).astype(np.uint16))
dark = Image.fromarray((np.mgrid[0:H, 0:W][1] * 20).astype(np.uint16))
profile = b'\0\0\1\0' + b'none' + bytes(500)  # not a valid profile
turned = Image.Exif()
turned[0x0112] = 6
exif = turned.tobytes()

# PNG
for mode in ['1', 'L', 'LA', 'P', 'RGB', 'RGBA']:
    save(f'png {mode}', (rgba if 'A' in mode else rgb).convert(mode), 'PNG')
for bits in [1, 2, 4]:
    save(f'png palette of {bits} bits', rgb.quantize(2**bits), 'PNG', bits=bits)
save('png 16-bit grey, clipped', wide, 'PNG')
save('png 16-bit grey, dark', dark, 'PNG')
save('png with orientation', rgb, 'PNG', exif=exif)
save('png animated', rgb, 'PNG', save_all=True, append_images=[picture()])


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def png(name, colour_type, levels, extra=b''):
    depth = levels.dtype.itemsize * 8
    rows = b''.join(b'\0' + row.astype(levels.dtype.newbyteorder('>')).tobytes() for row in levels)
    header = struct.pack('>IIBBBBB', levels.shape[1], levels.shape[0], depth, colour_type, 0, 0, 0)
    add(name, b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + extra + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


deep = rng.integers(0, 65536, (H, W, 4)).astype(np.uint16)
png('png 16-bit RGB', 2, deep[..., :3])
png('png 16-bit RGBA', 6, deep)
png('png 16-bit grey and alpha', 4, deep[..., :2])
flat = np.asarray(rgb)
png('png with gAMA', 2, flat, chunk(b'gAMA', struct.pack('>I', 100000)))
png('png with tRNS', 2, flat, chunk(b'tRNS', struct.pack('>HHH', *map(int, flat[0, 0]))))
png('png with a colour profile', 2, flat, chunk(b'iCCP', b'x\0\0' + zlib.compress(profile)))

# TIFF, WebP
for mode in ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK']:
    for compression in ['raw', 'tiff_lzw']:
        image = rgb.convert('CMYK') if mode == 'CMYK' else (rgba if 'A' in mode else rgb).convert(mode)
        save(f'tiff {mode} {compression}', image, 'TIFF', compression=compression)
save('tiff group4', rgb.convert('1'), 'TIFF', compression='group4')
save('tiff 16-bit grey', wide, 'TIFF')
save('tiff pages', rgb, 'TIFF', save_all=True, append_images=[picture()])
save('tiff with orientation, which Pillow applies', rgb, 'TIFF', tiffinfo={274: 6})
save('webp', rgb, 'WEBP', lossless=True)
save('webp alpha', rgba, 'WEBP', lossless=True, exact=True)
save('webp animated', rgb, 'WEBP', lossless=True, save_all=True, append_images=[picture()])
save('webp with orientation', rgb, 'WEBP', lossless=True, exif=exif)

# GIF
save('gif', rgb.quantize(64), 'GIF')
save('gif grey', rgb.convert('L'), 'GIF')
save('gif transparent', rgb.quantize(16), 'GIF', transparency=3)
save('gif interlaced', rgb.quantize(16), 'GIF', interlace=1)
save('gif animated', rgb.quantize(16), 'GIF', save_all=True, append_images=[picture().quantize(16)])


def gif(name, screen, frame, shared=True, own=False, transparent=None):
    """Adds a GIF of random pixels, coded without compression (a clear code before each code)."""
    left, top, width, height = frame
    palette = lambda: rng.integers(0, 256, 48, dtype=np.uint8).tobytes()
    out = b'GIF89a' + struct.pack('<HHBBB', *screen, 0x83 if shared else 0, 5, 0) + (palette() if shared else b'')
    out += b'\x21\xfe\x03abc\0'
    if transparent is not None:
        out += b'\x21\xf9\x04' + struct.pack('<BHB', 1, 0, transparent) + b'\0'
    out += b'\x2c' + struct.pack('<HHHHB', left, top, width, height, 0x83 if own else 0) + (palette() if own else b'')
    bits = ''.join(
        format(code, '05b')[::-1] for index in rng.integers(0, 16, width * height) for code in (16, int(index))
    ) + format(17, '05b')[::-1]
    packed = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    blocks = b''.join(bytes([len(packed[i : i + 255])]) + packed[i : i + 255] for i in range(0, len(packed), 255))
    add(name, out + b'\4' + blocks + b'\0\x3b')


gif('gif own palette', (W, H), (0, 0, W, H), own=True)
gif('gif own palette only', (W, H), (3, 2, 8, 6), shared=False, own=True)
gif('gif without palette', (W, H), (3, 2, 8, 6), shared=False)
gif('gif small frame', (W, H), (3, 2, 8, 6))
gif('gif small transparent frame', (W, H), (3, 2, 8, 6), transparent=7)
gif('gif frame beyond the screen', (5, 5), (3, 2, 8, 6))

# BMP
save('bmp 1', rgb.convert('1'), 'BMP')
save('bmp L', rgb.convert('L'), 'BMP')
save('bmp RGBA', rgba, 'BMP')


def bmp(name, bits, body, compression=0, palette=b'', masks=b'', header=40, top_down=False, colours=0):
    if header == 12:
        head = struct.pack('<IHHHH', 12, 7, 5, 1, bits)
    else:
        head = struct.pack('<IiiHHIIiiII', header, 7, -5 if top_down else 5, 1, bits, compression, 0, 0, 0, colours, 0)
        head += masks if header == 40 else masks.ljust(header - 40, b'\0')
    offset = 14 + len(head) + len(palette)
    add(name, b'BM' + struct.pack('<IHHI', offset + len(body), 0, 0, offset) + head + palette + body)


noise = lambda count: rng.integers(0, 256, count, dtype=np.uint8).tobytes()
words = lambda *values: struct.pack(f'<{len(values)}I', *values)
bmp('bmp 24 bit', 24, noise(120))
bmp('bmp 24 bit from the top', 24, noise(120), top_down=True)
bmp('bmp 24 bit OS/2', 24, noise(120), header=12)
bmp('bmp 32 bit', 32, noise(140))
bmp('bmp 32 bit masks', 32, noise(140), 3, masks=words(0xFF0000, 0xFF00, 0xFF))
bmp('bmp 32 bit RGBA version 4', 32, noise(140), 3, masks=words(0xFF, 0xFF00, 0xFF0000, 0xFF000000), header=108)
bmp('bmp 32 bit version 5', 32, noise(140), 3, masks=words(0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=124)
bmp('bmp 16 bit 555', 16, noise(80))
bmp('bmp 16 bit 565', 16, noise(80), 3, masks=words(0xF800, 0x7E0, 0x1F))
bmp('bmp 8 bit', 8, noise(40), palette=noise(1024))
bmp('bmp 8 bit OS/2', 8, noise(40), palette=noise(768), header=12)
bmp('bmp 8 bit of 20 colours', 8, bytes(i % 20 for i in range(40)), palette=noise(80), colours=20)
bmp('bmp 4 bit', 4, noise(20), palette=noise(64))
bmp('bmp 1 bit', 1, noise(20), palette=noise(8))
runs = [7, 3, 0, 0, 2, 9, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 7, 1, 0, 0, 3, 8, 4, 2, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 0, 0, 1]
bmp('bmp 8 bit runs', 8, bytes(runs), 1, palette=noise(1024))
runs = [7, 0x35, 0, 0, 0, 6, 0x12, 0x34, 0x56, 0, 1, 0x77, 0, 0, 3, 0x8A, 4, 0x11, 0, 0, 7, 0x12, 0, 0, 5, 0xCD, 2, 0x33, 0, 1]
bmp('bmp 4 bit runs', 4, bytes(runs), 2, palette=noise(64))

out = pathlib.Path(__file__).parent.parent / 'test/image/pillow_cases.json'
out.write_text('{\n' + ',\n'.join(f'{json.dumps(k)}: {json.dumps(v)}' for k, v in cases.items()) + '\n}\n')
print(f'{len(cases)} cases, {out.stat().st_size} bytes in {out}')
