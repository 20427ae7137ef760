/**
 * Draws docs/pictures and docs/scenes, which the demo, the documentation, the tests and the benchmarks use:
 *
 *     npx tsx tools/demo_pictures.ts
 *
 * docs/pictures has drawings in place of photographs, so that nobody else holds rights in them. docs/scenes has the
 * scenes 1, 2 and 3 of the held-out seed, for the demo checkpoint. They were not selected by its answers.
 */
import { fileURLToPath } from 'node:url';
import sharp, { type OverlayOptions, type Sharp } from 'sharp';
import { renderText } from '../src/drawing/sharp_text.ts';
import { drawScene } from './demo/scene.ts';
import { HELD_OUT_SEED } from './demo/seeds.ts';

const docs = fileURLToPath(new URL('../docs', import.meta.url));
const [width, height] = [768, 512];

interface Words {
  text: string;
  size: number;
  color: string;
  middle: [x: number, y: number];
}

/**
 * Draws an SVG body as a JPEG file. Words are rendered with the package's font, because the font of SVG text would
 * depend on the machine.
 */
async function write(name: string, body: string, words: Words[] = []): Promise<void> {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${body}</svg>`;
  const overlays = words.map(async ({ text, size, color, middle: [x, y] }): Promise<OverlayOptions> => {
    const set = await renderText(text, { size, color });
    return { input: set.png, left: Math.round(x - set.width / 2), top: Math.round(y - set.height / 2) };
  });
  const picture = await sharp(Buffer.from(svg))
    .composite(await Promise.all(overlays))
    .png()
    .toBuffer();
  await save(sharp(picture).flatten().jpeg({ quality: 90, mozjpeg: true }), `pictures/${name}.jpg`);
}

async function writeScene(index: number): Promise<void> {
  const { data, width, height } = drawScene(HELD_OUT_SEED, index).image;
  const picture = sharp(data, { raw: { width, height, channels: 3 } });
  await save(picture.png({ compressionLevel: 9 }), `scenes/scene-${index}.png`);
}

async function save(picture: Sharp, name: string): Promise<void> {
  const { width, height, size } = await picture.toFile(`${docs}/${name}`);
  console.log(`docs/${name}  ${width} x ${height}, ${Math.round(size / 1024)} KB`);
}

const gradient = (id: string, stops: [offset: number, color: string][], attributes = 'x1="0" y1="0" x2="0" y2="1"') =>
  `<linearGradient id="${id}" ${attributes}>${stops.map(([o, c]) => `<stop offset="${o}" stop-color="${c}"/>`).join('')}</linearGradient>`;

const glow = (id: string, stops: [offset: number, color: string][], attributes = 'cx="0.35" cy="0.3" r="0.8"') =>
  `<radialGradient id="${id}" ${attributes}>${stops.map(([o, c]) => `<stop offset="${o}" stop-color="${c}"/>`).join('')}</radialGradient>`;

const blur =
  '<filter id="soft" x="-50%" y="-50%" width="200%" height="200%"><feGaussianBlur stdDeviation="9"/></filter>';

// A green car in front of a yellow house with two doors and two windows, and a tree in a pot.
function street(): string {
  const door = (x: number) => `
    <rect x="${x - 8}" y="128" width="126" height="232" rx="3" fill="#f2e3bd"/>
    <rect x="${x}" y="136" width="110" height="224" fill="url(#door)"/>
    ${[0, 1].flatMap(column => [0, 1, 2].map(row => `<rect x="${x + 10 + 50 * column}" y="${148 + 68 * row}" width="40" height="56" rx="2" fill="#6a3a1c" stroke="#8d5730" stroke-width="3"/>`)).join('')}
    <circle cx="${x + 55}" cy="262" r="5" fill="#e9c46a"/>`;
  const windowAt = (x: number) => `
    <rect x="${x - 7}" y="141" width="114" height="104" rx="2" fill="#fdf3d6"/>
    <rect x="${x}" y="148" width="100" height="90" fill="url(#glass)"/>
    <path d="M${x + 50} 148v90M${x} 193h100" stroke="#fdf3d6" stroke-width="6"/>
    <rect x="${x - 14}" y="243" width="128" height="12" rx="2" fill="#e4cf9b"/>`;
  const wheel = (x: number) => `
    <circle cx="${x}" cy="421" r="41" fill="#23262b"/><circle cx="${x}" cy="421" r="26" fill="#cfd6da"/>
    <circle cx="${x}" cy="421" r="19" fill="#eef3f5"/><circle cx="${x}" cy="421" r="7" fill="#8a949b"/>`;
  return `<defs>
      ${gradient('wall', [
        [0, '#f8cf52'],
        [1, '#eeb93a'],
      ])} ${gradient('door', [
        [0, '#8a4d24'],
        [1, '#6f3a19'],
      ])}
      ${gradient(
        'glass',
        [
          [0, '#7fb2cf'],
          [0.5, '#cfe7f0'],
          [1, '#5f93b3'],
        ],
        'x1="0" y1="0" x2="1" y2="1"',
      )}
      ${gradient('paint', [
        [0, '#7fe0cf'],
        [0.45, '#37b5a2'],
        [1, '#1c7f73'],
      ])}
      ${gradient('road', [
        [0, '#7d7f86'],
        [1, '#5c5e66'],
      ])} ${gradient('screen', [
        [0, '#d9f2f5'],
        [1, '#7fb3bd'],
      ])} ${blur}
    </defs>
    <rect width="768" height="512" fill="url(#wall)"/>
    <g stroke="#dca42b" stroke-opacity="0.45" stroke-width="2">${[40, 80, 120, 160, 200, 240, 280, 320].map((y, i) => `<path d="M${i % 2 ? 60 : 20} ${y}h${90 + 30 * (i % 3)}M${420 - 35 * i} ${y + 12}h70M${690 - 20 * i} ${y}h60"/>`).join('')}</g>
    <rect width="768" height="34" fill="#c8862c"/><rect y="34" width="768" height="8" fill="#a66c1f"/>
    ${windowAt(42)} ${door(196)} ${door(452)} ${windowAt(618)}
    <rect y="352" width="768" height="30" fill="#d8d2c4"/><rect y="376" width="768" height="8" fill="#b3ab9a"/>
    <rect y="384" width="768" height="128" fill="url(#road)"/>
    <path d="M0 492h120M190 492h130M390 492h130M590 492h130" stroke="#f4f1e6" stroke-width="7" stroke-opacity="0.85"/>
    <g><path d="M684 300h56l-9 60h-38z" fill="#b5532d"/><rect x="680" y="292" width="64" height="14" rx="3" fill="#c9653a"/>
      <circle cx="700" cy="262" r="28" fill="#3f8f4f"/><circle cx="727" cy="266" r="26" fill="#347d44"/><circle cx="713" cy="236" r="27" fill="#56a862"/></g>
    <ellipse cx="372" cy="462" rx="262" ry="20" fill="#000" opacity="0.45" filter="url(#soft)"/>
    <path d="M140 420c-14-6-18-36-8-56 12-24 46-34 84-40 34-44 74-66 148-66 70 0 112 28 142 66 48 2 96 14 110 46 8 18 6 42-4 50z" fill="url(#paint)"/>
    <path d="M246 322c26-30 54-42 98-43v43z" fill="url(#screen)"/><path d="M360 279c50 0 82 16 110 43H360z" fill="url(#screen)"/>
    <path d="M246 322c26-30 54-42 98-43v43zM360 279c50 0 82 16 110 43H360z" fill="none" stroke="#e8f6f3" stroke-width="5"/>
    <path d="M352 282v128M352 336c60-2 130-2 190 6" stroke="#1a7268" stroke-width="3" fill="none"/>
    <path d="M176 421a49 49 0 0 1 98 0zM480 421a49 49 0 0 1 98 0z" fill="#14605a"/>
    <rect x="374" y="342" width="30" height="7" rx="3" fill="#e8f6f3"/>
    <path d="M116 404h60v16h-52c-10 0-14-10-8-16zM578 404h50c8 6 4 16-6 16h-44z" fill="#dfe7ea"/>
    <ellipse cx="597" cy="362" rx="17" ry="20" fill="#fff6cf" stroke="#dfe7ea" stroke-width="5"/>
    <ellipse cx="142" cy="370" rx="9" ry="14" fill="#d8432f" stroke="#dfe7ea" stroke-width="3"/>
    <path d="M226 320c34-42 72-56 134-57 62 1 102 20 130 52" fill="none" stroke="#bff3e8" stroke-width="4" stroke-opacity="0.7"/>
    ${wheel(225)} ${wheel(529)}`;
}

// A sign on a brick wall, between two lamps and above two flower boxes.
function sign(): string {
  const bricks: string[] = [];
  for (let row = 0; row < 17; row++) {
    for (let column = -1; column < 11; column++) {
      const shade = ['#a8503a', '#b35a42', '#9c4934', '#ad543f'][(row * 7 + column * 5 + 10) % 4]!;
      bricks.push(
        `<rect x="${column * 76 + (row % 2) * 38 + 2}" y="${row * 31 + 2}" width="72" height="27" rx="2" fill="${shade}"/>`,
      );
    }
  }
  const lamp = (x: number) => `
    <path d="M${x} 0v74" stroke="#26282d" stroke-width="6"/><path d="M${x - 30} 104c0-22 12-34 30-34s30 12 30 34z" fill="#26282d"/>
    <ellipse cx="${x}" cy="104" rx="30" ry="6" fill="#ffe9a8"/><path d="M${x - 30} 106h60l46 150h-152z" fill="#ffe9a8" opacity="0.16"/>`;
  const flowers = (x: number) => `
    ${Array.from({ length: 9 }, (_, i) => `<ellipse cx="${x + 6 + i * 19}" cy="${436 + 8 * (i % 2)}" rx="17" ry="24" fill="${i % 2 ? '#3d8b4e' : '#2f7440'}"/>`).join('')}
    ${Array.from({ length: 8 }, (_, i) => {
      const [cx, cy, color] = [x + 14 + i * 20, 418 + 15 * (i % 3), ['#ff6b8a', '#ffd166', '#f4f1ff'][i % 3]!];
      const petals = [0, 72, 144, 216, 288].map(
        turn =>
          `<ellipse cx="${cx}" cy="${cy - 7}" rx="5" ry="7" fill="${color}" transform="rotate(${turn} ${cx} ${cy})"/>`,
      );
      return `${petals.join('')}<circle cx="${cx}" cy="${cy}" r="4" fill="#c9812b"/>`;
    }).join('')}
    <path d="M${x - 14} 452h192l-10 52H${x - 4}z" fill="#6b4a2f"/><rect x="${x - 20}" y="446" width="204" height="16" rx="3" fill="#80593a"/>`;
  return `<defs>${gradient('board', [
    [0, '#2f4a44'],
    [1, '#223833'],
  ])} ${gradient('shade', [
    [0, '#1a0d08'],
    [0.4, '#000000'],
  ])} ${blur}</defs>
    <rect width="768" height="512" fill="#caa890"/>${bricks.join('')}
    <rect width="768" height="512" fill="url(#shade)" opacity="0.16"/>
    <rect x="176" y="96" width="432" height="296" rx="14" fill="#000" opacity="0.5" filter="url(#soft)"/>
    <path d="M250 0v90M518 0v90" stroke="#3a3d44" stroke-width="7"/>
    <rect x="168" y="82" width="432" height="296" rx="14" fill="#b98a52"/><rect x="180" y="94" width="408" height="272" rx="8" fill="url(#board)"/>
    <rect x="192" y="106" width="384" height="248" rx="5" fill="none" stroke="#e8d9b5" stroke-width="3"/>
    <path d="M262 224h80M426 224h80" stroke="#e8d9b5" stroke-width="3"/><circle cx="384" cy="224" r="7" fill="#f2b84b"/>
    ${lamp(84)} ${lamp(684)} ${flowers(40)} ${flowers(564)}`;
}

// A red ball, a blue cube, a green cone and a yellow cylinder on a table.
function shapes(): string {
  const shadow = (cx: number, cy: number, rx: number) =>
    `<ellipse cx="${cx}" cy="${cy}" rx="${rx}" ry="${rx * 0.24}" fill="#2a1406" opacity="0.55" filter="url(#soft)"/>`;
  return `<defs>
      ${gradient('room', [
        [0, '#dfe9ee'],
        [1, '#b9cbd5'],
      ])} ${gradient('wood', [
        [0, '#c98f58'],
        [1, '#9c6331'],
      ])}
      ${glow('ball', [
        [0, '#ff9a8a'],
        [0.35, '#e63b2e'],
        [1, '#8d1410'],
      ])}
      ${gradient(
        'cone',
        [
          [0, '#1f7a3d'],
          [0.35, '#5fd07f'],
          [1, '#14572b'],
        ],
        'x1="0" y1="0" x2="1" y2="0"',
      )}
      ${gradient(
        'can',
        [
          [0, '#c98a00'],
          [0.35, '#ffe27a'],
          [1, '#b87400'],
        ],
        'x1="0" y1="0" x2="1" y2="0"',
      )}
      ${gradient('front', [
        [0, '#3f7be0'],
        [1, '#2a5cb8'],
      ])} ${blur}
    </defs>
    <rect width="768" height="300" fill="url(#room)"/>
    <rect x="470" y="30" width="220" height="176" rx="4" fill="#f6fafc"/><rect x="480" y="40" width="200" height="156" fill="#9fd0ee"/>
    <path d="M480 150c40-30 70-34 110-8s60 12 90-10v64H480z" fill="#7fb774"/><path d="M580 40v156M480 118h200" stroke="#f6fafc" stroke-width="8"/>
    <path d="M0 262h768v250H0z" fill="url(#wood)"/>
    <g stroke="#7c4a20" stroke-opacity="0.35" stroke-width="3" fill="none"><path d="M0 300c200 8 500-8 768 2M0 352c260-8 420 12 768-2M0 412c180 10 540-10 768 4M0 470c300-8 480 8 768-2"/></g>
    ${shadow(196, 424, 96)} ${shadow(392, 398, 104)} ${shadow(566, 436, 92)} ${shadow(668, 364, 60)}
    <path d="M668 190l62 168a62 16 0 0 1-124 0z" fill="url(#cone)"/>
    <path d="M306 232l78-34 96 22-72 36z" fill="#86b2ff"/><path d="M306 232l102 24v144l-102-30z" fill="url(#front)"/><path d="M408 256l72-36v138l-72 42z" fill="#1f4694"/>
    <circle cx="186" cy="336" r="92" fill="url(#ball)"/><ellipse cx="152" cy="288" rx="26" ry="17" fill="#fff" opacity="0.55" transform="rotate(-35 152 288)"/>
    <path d="M500 316v104a62 18 0 0 0 124 0V316z" fill="url(#can)"/><ellipse cx="562" cy="316" rx="62" ry="18" fill="#fff0b3"/>`;
}

await write('street', street());
await write('sign', sign(), [
  { text: 'COFFEE & CAKE', size: 42, color: '#f7ecd0', middle: [384, 168] },
  { text: 'OPEN DAILY', size: 34, color: '#f2b84b', middle: [384, 270] },
  { text: '8 am – 6 pm', size: 28, color: '#f7ecd0', middle: [384, 318] },
]);
await write('shapes', shapes());
for (const index of [1, 2, 3]) await writeScene(index);
