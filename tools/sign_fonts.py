"""Writes the fonts of the signs in drawn scenes (SIL Open Font License), reduced to letters:

    npm pack @expo-google-fonts/zilla-slab @expo-google-fonts/patrick-hand
    for file in expo-google-fonts-*.tgz; do tar xzf $file --one-top-level; done
    pip install fonttools && python tools/sign_fonts.py .

Their family names differ from those of installed fonts.
"""

import pathlib, shutil, sys

from fontTools import subset
from fontTools.ttLib import TTFont

FONTS = {
    'slab': ('zilla-slab', '700Bold/ZillaSlab_700Bold.ttf'),
    'hand': ('patrick-hand', '400Regular/PatrickHand_400Regular.ttf'),
}
target = pathlib.Path(__file__).parent / 'demo/fonts'

for name, (package, file) in FONTS.items():
    folder = next(pathlib.Path(sys.argv[1]).glob(f'*{package}*/package'))
    font = TTFont(folder / file)
    subsetter = subset.Subsetter(subset.Options(layout_features=['kern'], hinting=False))
    subsetter.populate(unicodes=subset.parse_unicodes('20,41-5A,61-7A'))
    subsetter.subset(font)
    family = f'Florence2 {name.capitalize()}'
    records = font['name']
    records.names = [record for record in records.names if record.nameID in (0, 5, 13, 14)]  # copyright, version, licence
    for kind, text in {1: family, 2: 'Regular', 3: f'{family}; subset', 4: family, 6: family.replace(' ', '')}.items():
        records.setName(text, kind, 3, 1, 0x409)
    font['OS/2'].usWeightClass = 400  # the only weight of the family counts as regular
    font['OS/2'].fsSelection = (font['OS/2'].fsSelection & ~0x21) | 0x40
    font['head'].macStyle = 0
    font.save(target / f'{name}.ttf')
    shutil.copy(folder / 'LICENSE_FONT', target / f'{name}-license.txt')
