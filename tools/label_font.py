"""Writes src/drawing/font/label-font.ttf, the font of labels in drawings, from Inter SemiBold (SIL Open Font License).

    npm pack @expo-google-fonts/inter && tar xzf expo-google-fonts-inter-*.tgz
    pip install fonttools && python tools/label_font.py package/600SemiBold/Inter_600SemiBold.ttf

It has Latin, Greek, Cyrillic and a few symbols. Its family name differs from that of an installed Inter.
"""

import pathlib, sys

from fontTools import subset
from fontTools.ttLib import TTFont

UNICODES = (
    '20-7E,A0-24F,300-36F,370-3FF,400-4FF,1E00-1EFF,2010-2027,2030-203A,20A0-20BF,2100-214F,2190-2193,2212,221E,2248,'
    '2260-2265,25A0-25FF'
)
FAMILY = 'Florence2 Labels'

options = subset.Options(layout_features=['kern', 'mark', 'mkmk', 'ccmp', 'locl', 'case'], hinting=False)
font = TTFont(sys.argv[1])
subsetter = subset.Subsetter(options)
subsetter.populate(unicodes=subset.parse_unicodes(UNICODES))
subsetter.subset(font)

names = font['name']
names.names = [record for record in names.names if record.nameID in (0, 5, 13, 14)]  # copyright, version, licence
for kind, text in {1: FAMILY, 2: 'Regular', 3: f'{FAMILY}; subset of Inter SemiBold', 4: FAMILY, 6: 'Florence2Labels-Regular'}.items():
    names.setName(text, kind, 3, 1, 0x409)
font['OS/2'].usWeightClass = 400  # the only weight of the family counts as regular
font['OS/2'].fsSelection = (font['OS/2'].fsSelection & ~0x21) | 0x40
font['head'].macStyle = 0
font.save(pathlib.Path(__file__).parent.parent / 'src/drawing/font/label-font.ttf')
