import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DrawOptions } from '../../src/drawing/scene.ts';
import { draw, encodeMask } from '../../src/drawing/sharp.ts';
import { polygonsToMask } from '../../src/geometry/masks.ts';
import type { BoxCoordinates } from '../../src/geometry/types.ts';
import { decodeImage } from '../../src/image/decode.ts';
import type { RawImage } from '../../src/image/types.ts';
import type { Box, TaskResult } from '../../src/results/types.ts';

const grey = (width: number, height: number): RawImage => ({
  data: new Uint8Array(width * height * 3).fill(128),
  width,
  height,
});
const common = (image: RawImage) => ({
  imageSize: { width: image.width, height: image.height },
  answer: '',
  truncated: false,
});
const detection = (image: RawImage, boxes: Box[]): TaskResult => ({ task: '<OD>', boxes, ...common(image) });
const caption = (image: RawImage, text: string): TaskResult => ({ task: '<CAPTION>', text, ...common(image) });
const drawn = async (image: RawImage, results: TaskResult | TaskResult[], options?: DrawOptions) =>
  decodeImage(await draw(image, results, options));

const pixel = ({ data, width }: RawImage, x: number, y: number) => [
  ...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3),
];
const untouched = [128, 128, 128];
/** Counts the pixels of a rectangle that are not grey. */
function touched({ data, width }: RawImage, [left, top, right, bottom]: readonly number[]): number {
  let count = 0;
  for (let y = top!; y < bottom!; y++) {
    for (let i = 3 * (y * width + left!); i < 3 * (y * width + right!); i += 3) {
      if (data[i] !== 128 || data[i + 1] !== 128 || data[i + 2] !== 128) count++;
    }
  }
  return count;
}

test('a box is drawn as a line of one colour along its edges', async () => {
  const image = grey(600, 400);
  const picture = await drawn(image, detection(image, [{ label: '', box: [100, 80, 400, 300] }]));
  assert.equal([picture.width, picture.height], [600, 400]);
  const color = pixel(picture, 100, 200);
  assert.not.equal(color, untouched);
  for (const [x, y] of [
    [400, 200],
    [250, 80],
    [250, 300],
  ] as const)
    assert.equal(pixel(picture, x, y), color, `${x}, ${y}`);
  assert.is(touched(picture, [110, 90, 390, 290]), 0, 'inside');
  assert.is(touched(picture, [0, 0, 600, 70]), 0, 'above');
});

test('corners may have any order, and coordinates may be outside the image', async () => {
  const image = grey(600, 400);
  const sorted = await draw(image, detection(image, [{ label: 'x', box: [100, 80, 400, 300] }]));
  assert.equal(await draw(image, detection(image, [{ label: 'x', box: [400, 300, 100, 80] }])), sorted);
  const picture = await drawn(image, detection(image, [{ label: 'outside', box: [-50, -50, 700, 500] }]));
  assert.ok(touched(picture, [0, 0, 600, 400]) > 300, 'the label is inside the image');
});

test('labels are next to their box, in its colour, inside the image', async () => {
  const image = grey(600, 400);
  const places: [box: BoxCoordinates, near: number[]][] = [
    [
      [100, 80, 400, 300],
      [95, 55, 170, 78],
    ], // above
    [
      [0, 0, 300, 200],
      [0, 200, 70, 225],
    ], // no room above: below
    [
      [520, 80, 590, 200],
      [520, 55, 600, 78],
    ], // moved left, into the image
    [
      [100, 0, 115, 15],
      [80, 0, 200, 50],
    ], // small and at the top: below or at a side
  ];
  for (const [box, near] of places) {
    const plain = await drawn(image, detection(image, [{ label: '', box }]));
    const named = await drawn(image, detection(image, [{ label: 'person', box }]));
    const added = touched(named, [0, 0, 600, 400]) - touched(plain, [0, 0, 600, 400]);
    assert.ok(added > 300, `${box}: ${added} pixels of label`);
    const there = touched(named, near) - touched(plain, near);
    assert.ok(there > 0.7 * added, `${box}: ${there} of ${added} pixels are near`);
  }
});

test('the letters of labels contrast with every colour', async () => {
  const image = grey(1600, 1600);
  const boxes = Array.from({ length: 16 }, (_, i): Box => {
    const [x, y] = [100 + 380 * (i % 4), 100 + 380 * Math.floor(i / 4)];
    return { label: `${'ABCDEFGHIJKLMNOP'[i]}MMMM`, box: [x, y, x + 200, y + 200] };
  });
  const picture = await drawn(image, detection(image, boxes));
  const colors = new Set<string>();
  for (const {
    box: [x, y],
    label,
  } of boxes) {
    const line = pixel(picture, x + 150, y);
    colors.add(`${line}`);
    const strip = Array.from({ length: 100 }, (_, i) => pixel(picture, x + 8 + i, y - 22)); // through the letters
    const best = Math.max(...strip.map(p => contrast(p, line)));
    assert.ok(
      strip.some(p => `${p}` === `${line}`),
      `${label}: the label has the colour of its box`,
    );
    assert.ok(best >= 3, `${label}: contrast ${best}`);
  }
  assert.is(colors.size, 16, 'different labels have different colours');
});

test('equal labels have equal colours', async () => {
  const image = grey(800, 400);
  const box = (label: string, x: number): Box => ({ label, confidence: 0.5, box: [x, 200, x + 100, 300] });
  const picture = await drawn(image, detection(image, [box('cat', 50), box('dog', 250), box('cat', 450)]));
  assert.equal(pixel(picture, 100, 300), pixel(picture, 500, 300));
  assert.not.equal(pixel(picture, 100, 300), pixel(picture, 300, 300));
});

test('confidences are written unless the option is false', async () => {
  const image = grey(600, 400);
  const scored = detection(image, [{ label: 'cat', confidence: 0.87, box: [100, 80, 400, 300] }]);
  const plain = detection(image, [{ label: 'cat', box: [100, 80, 400, 300] }]);
  assert.equal(await draw(image, scored, { scores: false }), await draw(image, plain));
  const area = (picture: RawImage) => touched(picture, [0, 0, 600, 76]);
  assert.ok(area(await drawn(image, scored)) > 1.4 * area(await drawn(image, plain)), 'a wider label');
});

test('polygons cover their mask, and holes of a self-intersecting outline are not filled', async () => {
  const image = grey(640, 480);
  const star = [320, 40, 440, 420, 110, 180, 530, 180, 200, 420]; // a pentagram, whose middle is a hole by the even-odd rule
  const square = [20, 20, 120, 20, 120, 120, 20, 120];
  const within = [40, 40, 160, 40, 160, 100, 40, 100]; // overlaps the square: neither a hole nor darker
  const result: TaskResult = {
    task: '<REFERRING_EXPRESSION_SEGMENTATION>',
    instances: [{ label: '', polygons: [star, square, within] }],
    ...common(image),
  };
  const picture = await drawn(image, result);
  const mask = polygonsToMask([star, square, within], image);
  const inside = mask.data.reduce((sum, value) => sum + value, 0);
  let covered = 0;
  for (let i = 0; i < mask.data.length; i++) {
    if (mask.data[i] && `${picture.data.subarray(3 * i, 3 * i + 3)}` !== '128,128,128') covered++;
  }
  assert.ok(covered > 0.995 * inside, `${covered} of ${inside} pixels`);
  assert.equal(pixel(picture, 320, 250), untouched, 'the middle of the pentagram');
  assert.equal(pixel(picture, 80, 70), pixel(picture, 30, 70), 'where polygons of one object overlap');
  const all = touched(picture, [0, 0, 640, 480]);
  assert.ok(all < 1.35 * inside, `${all} pixels changed, ${inside} are inside`);
});

test('quads, phrases, open vocabulary, proposals and plain prompts', async () => {
  const image = grey(600, 400);
  const quad = { text: 'EXIT', quad: [100, 100, 300, 120, 295, 180, 95, 160] as never };
  const results: [result: TaskResult, edge: [x: number, y: number]][] = [
    [{ task: '<OCR_WITH_REGION>', quads: [quad], ...common(image) }, [200, 110]],
    [
      {
        task: '<CAPTION_TO_PHRASE_GROUNDING>',
        phrases: [{ phrase: 'a car', boxes: [{ box: [100, 100, 300, 200] }] }],
        ...common(image),
      },
      [200, 200],
    ],
    [
      {
        task: '<OPEN_VOCABULARY_DETECTION>',
        boxes: [{ label: 'car', box: [100, 100, 300, 200] }],
        instances: [],
        ...common(image),
      },
      [200, 200],
    ],
    [{ task: '<REGION_PROPOSAL>', boxes: [{ label: '', box: [100, 100, 300, 200] }], ...common(image) }, [200, 200]],
  ];
  for (const [result, [x, y]] of results) {
    const picture = await drawn(image, result);
    assert.equal([picture.width, picture.height], [600, 400], result.task);
    assert.not.equal(pixel(picture, x, y), untouched, result.task);
  }
  const answer: TaskResult = { task: 'prompt', prompt: 'Who?', text: 'Nobody.', ...common(image) };
  assert.ok((await drawn(image, answer)).height > 400);
});

test('texts are written in a strip below, whose height follows them', async () => {
  const image = grey(600, 400);
  const short = await drawn(image, caption(image, 'A cat.'));
  const long = await drawn(image, caption(image, 'A cat sits on a mat and looks. '.repeat(20)));
  assert.is(short.width, 600);
  assert.ok(short.height > 420 && short.height < 470, `${short.height}`);
  assert.ok(long.height > short.height + 60, `${long.height}`);
  assert.is(touched(short, [0, 0, 600, 400]), 0, 'the image itself');
  const colors = new Set(
    Array.from({ length: 600 }, (_, x) => `${pixel(short, x, Math.floor((400 + short.height) / 2))}`),
  );
  assert.ok(colors.size > 5, 'letters');
  const both = await drawn(image, [
    detection(image, [{ label: '', box: [100, 80, 400, 300] }]),
    caption(image, 'A cat.'),
  ]);
  assert.equal([both.width, both.height], [600, short.height]);
  assert.not.equal(pixel(both, 100, 200), untouched);
  assert.equal((await drawn(image, [])).height, 400, 'no strip without texts');
});

test('small and slim images are enlarged, very large ones are reduced, others keep their size', async () => {
  const sizes: [width: number, height: number, drawnWidth: number, drawnHeight: number][] = [
    [1, 1, 400, 400],
    [20, 10, 400, 200],
    [150, 399, 300, 798],
    [400, 300, 400, 300],
    [1000, 20, 5000, 100],
    [2000, 1500, 2000, 1500],
    [20_000, 10, 16_384, 8],
  ];
  for (const [width, height, drawnWidth, drawnHeight] of sizes) {
    const image = grey(width, height);
    const box: BoxCoordinates = [width * 0.25, height * 0.25, width * 0.75, height * 0.75];
    const picture = await drawn(image, detection(image, [{ label: 'a thing', confidence: 1, box }]));
    assert.equal([picture.width, picture.height], [drawnWidth, drawnHeight], `${width} x ${height}`);
    const edge = pixel(picture, Math.floor(drawnWidth / 4), Math.floor(drawnHeight / 2));
    assert.not.equal(edge, untouched, `${width} x ${height}: the box`);
    assert.ok((await drawn(image, caption(image, 'Words'))).height > drawnHeight, `${width} x ${height}: words`);
  }
});

test('coordinates are scaled if the image is a copy in another size', async () => {
  const [original, copy] = [grey(1200, 400), grey(600, 400)];
  const picture = await drawn(copy, detection(original, [{ label: '', box: [200, 100, 1000, 300] }]));
  assert.not.equal(pixel(picture, 100, 200), untouched);
  assert.not.equal(pixel(picture, 500, 200), untouched);
  assert.equal(pixel(picture, 200, 200), untouched);
});

test('labels may contain any characters', async () => {
  const image = grey(600, 400);
  const texts = [
    '<b>&amp; "quotes" \'and\' </svg> ]]>', '&#0;', '\u0000\u0007\ufffe', 'half \ud83d pair', '中文标签', 'مرحبا بالعالم', 'שלום',
    '🚗👩‍👩‍👧', 'Żółć Ελλάδα Жук', 'two\nlines', 'a very long label '.repeat(100), 'oneword'.repeat(100), '\t', '漢'.repeat(300),
  ]; // biome-ignore format: a table
  for (const text of texts) {
    const picture = await drawn(image, [
      detection(image, [{ label: text, box: [100, 80, 400, 300] }]),
      caption(image, text),
    ]);
    assert.is(picture.width, 600, text);
  }
});

test('the image is not modified, and its drawing is equal if there is nothing to draw', async () => {
  const image = grey(500, 300);
  await draw(image, detection(image, [{ label: 'x', box: [10, 10, 200, 200] }]));
  assert.ok(image.data.every(level => level === 128));
  assert.equal(await drawn(image, []), { ...image, data: Buffer.from(image.data) });
  const none: TaskResult = {
    task: '<REGION_TO_SEGMENTATION>',
    instances: [{ label: '', polygons: [[], [5]] }],
    ...common(image),
  };
  assert.is(touched(await drawn(image, none), [0, 0, 500, 300]), 0, 'polygons without a point');
  const dot: TaskResult = {
    task: '<REGION_TO_SEGMENTATION>',
    instances: [{ label: '', polygons: [[50, 60]] }],
    ...common(image),
  };
  assert.not.equal(pixel(await drawn(image, dot), 50, 60), untouched, 'a polygon of one point');
});

test('many labels are drawn with little overlap', async () => {
  const image = grey(1200, 900);
  const boxes = Array.from({ length: 40 }, (_, i): Box => {
    const [x, y] = [20 + 140 * (i % 8), 60 + 160 * Math.floor(i / 8)];
    return { label: `item ${i}`, box: [x, y, x + 130, y + 140] };
  });
  const one = touched(await drawn(image, detection(image, [boxes[9]!])), [0, 0, 1200, 900]);
  const all = touched(await drawn(image, detection(image, boxes)), [0, 0, 1200, 900]);
  assert.ok(all > 0.85 * 40 * one, `${all} pixels for 40 boxes, ${one} for one`);
});

test('the letters are the same on a machine without fonts', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'florence2-fonts-'));
  try {
    writeFileSync(join(folder, 'fonts.conf'), '<?xml version="1.0"?><fontconfig></fontconfig>');
    const image = grey(600, 400);
    const result = detection(image, [{ label: 'Größe: Ж & Ω', confidence: 0.5, box: [100, 80, 400, 300] }]);
    const module = fileURLToPath(new URL('../../src/drawing/sharp.ts', import.meta.url));
    const script = join(folder, 'draw.mjs');
    writeFileSync(
      script,
      `const { draw } = await import(${JSON.stringify(module)});
       const image = { data: new Uint8Array(600 * 400 * 3).fill(128), width: 600, height: 400 };
       process.stdout.write(await draw(image, ${JSON.stringify(result)}));`,
    );
    const output = execFileSync(process.execPath, ['--import', import.meta.resolve('tsx'), script], {
      env: { ...process.env, FONTCONFIG_FILE: join(folder, 'fonts.conf') },
    });
    const [ours, bare] = [await drawn(image, result), await decodeImage(new Uint8Array(output))];
    let different = 0;
    for (let i = 0; i < ours.data.length; i += 3) if (Math.abs(ours.data[i]! - bare.data[i]!) > 60) different++;
    // Antialiasing follows the system's settings; missing letters would differ in hundreds of pixels.
    const label = touched(ours, [0, 0, 600, 76]);
    assert.ok(different < 0.1 * label, `${different} of ${label} pixels of the label differ`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a mask is encoded as an 8-bit grey PNG', async () => {
  const png = await encodeMask(polygonsToMask([[10, 10, 30, 10, 30, 20, 10, 20]], { width: 64, height: 48 }));
  const { width, height, channels, space } = await sharp(png).metadata();
  assert.equal([width, height, channels, space], [64, 48, 1, 'b-w']);
  const { data } = await decodeImage(png);
  assert.is(data.filter(level => level === 255).length, 21 * 11 * 3);
  assert.is(data.filter(level => level === 0).length, (64 * 48 - 21 * 11) * 3);
});

/** Returns the contrast ratio of WCAG 2: 1 for equal colours, 21 for black on white. */
function contrast(a: number[], b: number[]): number {
  const luminance = (rgb: number[]) => {
    const [r, g, bl] = rgb.map(v => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * bl!;
  };
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high! + 0.05) / (low! + 0.05);
}

test('long labels and texts are drawn in time; coordinates that are not numbers are refused', async () => {
  const image = grey(300, 300);
  const start = performance.now();
  const long: [number, number, number, number] = [10, 10, 200, 200];
  await drawn(image, detection(image, [{ label: 'x'.repeat(100_000), box: long }]));
  await drawn(image, caption(image, 'x'.repeat(100_000)));
  assert.ok(performance.now() - start < 10_000);
  const error = await draw(image, detection(image, [{ label: 'x', box: [Number.NaN, 0, 1, 1] }])).catch(error => error);
  assert.is(error.message, 'draw: an object of <OD> has coordinates that are not numbers.');
});

test.run();
