"""Writes test/training/augment/pillow_colours.json: a small image, and the output of Pillow's ImageEnhance for it.

    pip install pillow==12.0.0 numpy && python tools/pillow_colours.py

Each case: the three factors, applied in the order brightness, contrast, saturation, and the pixels after it (base64).
"""

import base64, json, pathlib

import numpy as np
from PIL import Image, ImageEnhance

W, H = 16, 12
rng = np.random.default_rng(0)
image = Image.fromarray(rng.integers(0, 256, (H, W, 3), dtype=np.uint8))
base64_of = lambda im: base64.b64encode(im.tobytes()).decode()

factors = [(1, 1, 1), (0.5, 1, 1), (1.3, 1, 1), (0, 1, 1), (1, 0.6, 1), (1, 1.4, 1), (1, 0, 1), (1, 1, 0.3), (1, 1, 1.7), (1, 1, 0)]
factors += [tuple(float(f) for f in rng.uniform(0, 2, 3)) for _ in range(20)]
cases = []
for brightness, contrast, saturation in factors:
    out = ImageEnhance.Brightness(image).enhance(brightness)
    out = ImageEnhance.Contrast(out).enhance(contrast)
    out = ImageEnhance.Color(out).enhance(saturation)
    cases.append(dict(brightness=brightness, contrast=contrast, saturation=saturation, pixels=base64_of(out)))

path = pathlib.Path(__file__).parent.parent / 'test/training/augment/pillow_colours.json'
path.write_text(json.dumps(dict(width=W, height=H, pixels=base64_of(image), cases=cases), indent=2) + '\n')
