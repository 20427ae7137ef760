import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import type { ImageSize } from '../../src/geometry/types.ts';
import { randomStream } from '../../src/random.ts';
import { formatAnswer, parseAnswer, type TypedAnswer } from '../../src/results/format.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { dequantizePoints, quantizePoints } from '../../src/text/locations.ts';
import { strip } from '../../src/text/python_strings.ts';
import { TASKS, taskInfo } from '../../src/text/tasks.ts';
import { referenceJson } from '../reference.ts';

const SIZES: ImageSize[] = [
  { width: 640, height: 480 },
  { width: 333, height: 500 },
  { width: 37, height: 1201 },
  { width: 1, height: 7 },
  { width: 4096, height: 2160 },
  { width: 1000, height: 999 },
];

// biome-ignore format: a list of words
const WORDS = ['dog', 'street light', 'a man in a blue shirt', 'café', '犬', 'loc_5', 'a>b', 'No. 42', '12:30', ' cup ', 'cup', '"x"', '1/2'];

/** Returns a random answer to a task. Many coordinates are on the edges of the image and of bins. */
function randomAnswer(task: string, image: ImageSize, random: () => number): TypedAnswer {
  const integer = (n: number): number => Math.floor(random() * n);
  const word = (): string => WORDS[integer(WORDS.length)];
  const many = <T>(make: () => T, least = 0): T[] => Array.from({ length: least + integer(4) }, make);
  const coordinate = (size: number): number =>
    [random() * size, size, 0, (integer(1001) * size) / 1000, size - 1, size + 3, -2][integer(7)];
  const point = (): number[] => [coordinate(image.width), coordinate(image.height)];
  const box = (): number[] => {
    const [a, b] = [point(), point()];
    return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  };
  const polygons = (): number[][] => many(() => many(point, 3).flat(), 1);
  const { answer, task: token } = taskInfo(task)!;
  switch (answer) {
    case 'text':
      return { text: token === '<OCR>' && random() < 0.2 ? '' : word() };
    case 'boxes':
      return { boxes: many(() => ({ label: word(), box: box() })) };
    case 'proposals':
      return { boxes: many(() => ({ label: '', box: box() })) };
    case 'phrases':
      return { phrases: many(() => ({ phrase: word(), boxes: many(() => ({ box: box() }), 1) })) };
    case 'polygons':
      return { instances: many(() => ({ label: '', polygons: polygons() })) };
    case 'boxes or polygons':
      return random() < 0.5
        ? { boxes: many(() => ({ label: word(), box: box() })) }
        : { instances: many(() => ({ label: word(), polygons: polygons() })) };
    case 'quads':
      return { quads: many(() => ({ text: word(), quad: [...point(), ...point(), ...point(), ...point()] })) };
  }
}

/** Returns an answer as it is after formatting and parsing: coordinates at the centres of their bins, words trimmed. */
function quantised(value: unknown, image: ImageSize): unknown {
  if (typeof value === 'string') return strip(value);
  if (!Array.isArray(value)) {
    return Object.fromEntries(Object.entries(value as object).map(([key, item]) => [key, quantised(item, image)]));
  }
  if (value.length > 0 && value.every(item => typeof item === 'number')) {
    return dequantizePoints(quantizePoints(value, image), image);
  }
  return value.map(item => quantised(item, image));
}

test('every task: parsing inverts formatting, up to the bins', () => {
  for (const { task } of TASKS) {
    for (const image of SIZES) {
      const random = randomStream(1, task, image.width);
      for (let i = 0; i < 60; i++) {
        const answer = randomAnswer(task, image, random);
        const text = formatAnswer(task, answer, image);
        const where = `${task} ${image.width}x${image.height} ${i}: ${text}`;
        const options = { keepUnicode: true, keepMalformed: true };
        const result = parse(text, task, image, options) as unknown as Record<string, unknown>;
        for (const [field, value] of Object.entries(answer))
          assert.equal(result[field], quantised(value, image), where);
        assert.is(formatAnswer(task, parseAnswer(task, text, image), image), text, `${where}: formatted again`);
        assert.is(formatAnswer(task, text, image), text, `${where} as text`); // a valid answer, returned unchanged
        assert.not.match(text, /<loc_(1000|\d{4,}|-)/, where);
      }
    }
  }
});

test('the right and bottom edges of images of every size are in bin 999', () => {
  for (let size = 1; size <= 3000; size++) {
    const image = { width: size, height: size + 1 };
    const text = formatAnswer('<OD>', { boxes: [{ label: 'all', box: [0, 0, size, size + 1] }] }, image);
    assert.is(text, 'all<loc_0><loc_0><loc_999><loc_999>', `${size}`);
  }
});

test("training targets equal the reference's", () => {
  let compared = 0;
  for (const { kind, image_size, labels, boxes, points, target } of referenceJson('processor/quantize.json').targets) {
    const image = { width: image_size[0], height: image_size[1] };
    const answer: TypedAnswer =
      kind === 'detection'
        ? { boxes: boxes.map((box: number[], i: number) => ({ box, label: labels[i] })) }
        : { instances: [{ label: '', polygons: [points.flat()] }] };
    const task = kind === 'detection' ? '<OD>' : '<REFERRING_EXPRESSION_SEGMENTATION>';
    assert.is(formatAnswer(task, answer, image), target);
    compared++;
  }
  assert.is(compared, 10);
});

test('answers of the reference are formatted as the model wrote them', () => {
  let compared = 0;
  for (const { id, task, about, text, image_size } of referenceJson('processor/postprocess.json').cases) {
    if (!WELL_FORMED.includes(about)) continue;
    const image = { width: image_size[0], height: image_size[1] };
    const written = text.replace(/<\/?s>/g, '');
    const trimmed = written.replace(/(^|>) +/g, '$1');
    const expected = task === '<OCR_WITH_REGION>' ? trimmed : shareLabels(trimmed);
    assert.is(formatAnswer(task, parseAnswer(task, written, image), image), expected, `${id} ${task}`);
    compared++;
  }
  assert.ok(compared >= 60, `${compared}`);
});

// biome-ignore format: a list of kinds
const WELL_FORMED = ['objects', 'captions', 'proposals', 'phrases, several boxes per phrase', 'quads', 'one polygon',
  'polygons joined by <sep>', 'boxes', 'polygons'];

/** Removes labels equal to the previous one, which the reference's made-up answers repeat. */
function shareLabels(text: string): string {
  const parts = text.match(/[^<>]*(?:<[^>]*>)+/g) ?? [];
  const label = (part: string): string => part.slice(0, part.indexOf('<'));
  return parts
    .map((part, i) => (i > 0 && label(part) === label(parts[i - 1]) ? part.slice(label(part).length) : part))
    .join('');
}

test('boxes of one label follow it, and the label is written once, as in answers of published checkpoints', () => {
  const image = { width: 640, height: 480 };
  const wheels = [
    { label: 'car', box: [34.24, 160.08, 597.44, 371.76] },
    { label: 'wheel', box: [450.88, 276.72, 554.56, 370.8] },
    { label: 'wheel', box: [95.68, 280.56, 198.72, 371.28] },
  ];
  // Florence-2-large's answer about transformers' picture of a car, without the door.
  const published =
    'car<loc_53><loc_333><loc_933><loc_774>wheel<loc_704><loc_576><loc_866><loc_772><loc_149><loc_584><loc_310><loc_773>';
  assert.is(formatAnswer('<OD>', { boxes: wheels }, image), published);
  assert.is((parseAnswer('<OD>', published, image) as { boxes: unknown[] }).boxes.length, 3);
});

test('training answers keep phrases that results omit', () => {
  const image = { width: 640, height: 480 };
  const text = 'it<loc_1><loc_2><loc_3><loc_4>it<loc_5><loc_6><loc_7><loc_8>';
  const task = '<CAPTION_TO_PHRASE_GROUNDING>';
  assert.equal(parse(text, task, image).phrases, []);
  assert.is(formatAnswer(task, parseAnswer(task, text, image), image), text);
});

test('results are typed answers', () => {
  const image = { width: 640, height: 480 };
  const cases: [task: string, text: string][] = [
    ['<OD>', 'dog<loc_1><loc_2><loc_3><loc_4>'],
    ['<OPEN_VOCABULARY_DETECTION>', 'dog<loc_1><loc_2><loc_3><loc_4>'],
    ['<OPEN_VOCABULARY_DETECTION>', 'dog<poly><loc_1><loc_2><loc_3><loc_4><loc_5><loc_6></poly>'],
    ['<OPEN_VOCABULARY_DETECTION>', ''],
    ['<CAPTION>', 'A dog.'],
    ['What is this?', 'A dog.'],
  ];
  for (const [task, text] of cases) assert.is(formatAnswer(task, parse(text, task, image), image), text);
});

test('invalid answers are refused with the name of the field', () => {
  const box = [1, 2, 3, 4];
  const polygon = [1, 2, 3, 4, 5, 6];
  const cases: [task: string, answer: unknown, message: RegExp][] = [
    ['<OD>', { text: 'dog' }, /^Task <OD> is answered by boxes, but the answer has text\.$/],
    ['<OD>', null, /^answer is null/],
    ['<CAPTION>', { boxes: [] }, /is answered by text, but the answer has boxes/],
    ['my own prompt', { boxes: [] }, /^A custom prompt is answered by text/],
    ['<OD>', { boxes: 3 }, /^answer\.boxes is 3, expected a list/],
    ['<OD>', { boxes: [{ label: '', box }] }, /^answer\.boxes\[0\]\.label is empty/],
    [
      '<OD>',
      {
        boxes: [
          { label: 'a', box },
          { label: ' ', box },
        ],
      },
      /^answer\.boxes\[1\]\.label is empty/,
    ],
    ['<OD>', { boxes: [{ label: 3, box }] }, /^answer\.boxes\[0\]\.label is 3, expected words/],
    [
      '<OD>',
      { boxes: [{ label: 'dog<loc_5>', box }] },
      /^answer\.boxes\[0\]\.label contains the special token <loc_5>/,
    ],
    ['<OD>', { boxes: [{ label: 'a</s>', box }] }, /^answer\.boxes\[0\]\.label contains the special token <\/s>/],
    ['<OD>', { boxes: [{ label: 'a<b', box }] }, /^answer\.boxes\[0\]\.label is "a<b"/],
    ['<OD>', { boxes: [{ label: 'a\nb', box }] }, /^answer\.boxes\[0\]\.label is "a\\nb"/],
    ['<OD>', { boxes: [{ label: 'a', box: [1, 2, 3] }] }, /^answer\.boxes\[0\]\.box has 3 numbers, expected 4/],
    ['<OD>', { boxes: [{ label: 'a', box: [1, 2, Number.NaN, 4] }] }, /^answer\.boxes\[0\]\.box\[2\] is NaN/],
    [
      '<OD>',
      { boxes: [{ label: 'a', box: [1, 2, '3', 4] }] },
      /^answer\.boxes\[0\]\.box\[2\] is "3", expected a number/,
    ],
    [
      '<OD>',
      { boxes: [{ label: 'a', box: [3, 2, 1, 4] }] },
      /^answer\.boxes\[0\]\.box is \[3,2,1,4\], expected x1 <= x2/,
    ],
    ['<OD>', { boxes: [{ label: 'a', box: [1, 9, 3, 4] }] }, /expected x1 <= x2 and y1 <= y2/],
    ['<REGION_PROPOSAL>', { boxes: [{ label: 'a', box }] }, /^answer\.boxes\[0\]\.label is "a", but this task/],
    [
      '<CAPTION_TO_PHRASE_GROUNDING>',
      { phrases: [{ phrase: 'a', boxes: [] }] },
      /^answer\.phrases\[0\]\.boxes is empty/,
    ],
    [
      '<CAPTION_TO_PHRASE_GROUNDING>',
      { phrases: [{ phrase: 'a', boxes: [{ box: [1] }] }] },
      /^answer\.phrases\[0\]\.boxes\[0\]\.box has 1/,
    ],
    [
      '<REGION_TO_SEGMENTATION>',
      { instances: [{ label: '', polygons: [] }] },
      /^answer\.instances\[0\]\.polygons is not a list/,
    ],
    [
      '<REGION_TO_SEGMENTATION>',
      { instances: [{ label: 'a', polygons: [polygon] }] },
      /^answer\.instances\[0\]\.label is "a"/,
    ],
    [
      '<REGION_TO_SEGMENTATION>',
      { instances: [{ label: '', polygons: [[1, 2, 3, 4]] }] },
      /^answer\.instances\[0\]\.polygons\[0\] has 4/,
    ],
    [
      '<REGION_TO_SEGMENTATION>',
      { instances: [{ label: '', polygons: [[...polygon, 7]] }] },
      /polygons\[0\] has 7 numbers/,
    ],
    [
      '<OPEN_VOCABULARY_DETECTION>',
      { boxes: [{ label: 'a', box }], instances: [{ label: 'a', polygons: [polygon] }] },
      /has both instances and boxes/,
    ],
    ['<OCR_WITH_REGION>', { quads: [{ text: 'A', quad: box }] }, /^answer\.quads\[0\]\.quad has 4 numbers, expected 8/],
    [
      '<OCR_WITH_REGION>',
      { quads: [{ text: 'A\nB', quad: [...box, ...box] }] },
      /^answer\.quads\[0\]\.text contains a line break/,
    ],
    ['<CAPTION>', { text: '' }, /^answer\.text is empty/],
    ['<CAPTION>', { text: 'a <loc_1000>' }, /^answer\.text contains the special token <loc_1000>/],
  ];
  for (const [task, answer, message] of cases) refused(task, answer as TypedAnswer, message);
});

test('invalid texts are refused with the rest of the text from the first error on', () => {
  const locations = (n: number): string => Array.from({ length: n }, (_, i) => `<loc_${i}>`).join('');
  const cases: [task: string, text: string, message: RegExp][] = [
    ['<OD>', `dog${locations(3)}<loc_1000>`, /contains <loc_1000>, but location tokens are <loc_0> to <loc_999>/],
    ['<CAPTION>', '<loc_1000>', /<loc_1000>/],
    ['my own prompt', 'at <loc_1000>', /<loc_1000>/],
    ['my own prompt', 'at <loc_-1>', /<loc_-1>/],
    ['<OD>', 'dog<loc_12', /contains <loc_12,/],
    ['<OD>', `dog${locations(3)}`, /the answer differs: "dog/],
    ['<OD>', `dog${locations(4)}cat${locations(7)}`, /the answer differs from here on: "<loc_4>/],
    ['<OD>', `dog${locations(4)}cat`, /differs from here on: "cat"/],
    ['<OD>', locations(4), /is answered by labels/],
    ['<OD>', `two\nlines${locations(4)}`, /is answered by labels/],
    ['<OD>', `dog${locations(4)}</s>`, /contains <\/s>, which the tokenizer adds/],
    ['<REGION_PROPOSAL>', locations(6), /four locations for each box; the answer differs from here/],
    ['<CAPTION_TO_PHRASE_GROUNDING>', `a dog${locations(2)}`, /is answered by phrases/],
    ['<REFERRING_EXPRESSION_SEGMENTATION>', locations(7), /two locations for each of three/],
    ['<REFERRING_EXPRESSION_SEGMENTATION>', `dog${locations(6)}`, /is answered by two locations/],
    ['<OCR_WITH_REGION>', `A${locations(4)}`, /eight locations/],
    ['<CAPTION>', ' ', /The answer to Task <CAPTION> is empty/],
  ];
  for (const [task, text, message] of cases) refused(task, text, message);
  const kept: [task: string, text: string][] = [
    ['<OD>', ''],
    ['<OD>', ` dog${locations(8)}\ncat${locations(4)}\n`],
    ['<OCR>', ''],
    ['my own prompt', '{"at": "<loc_5>"}'],
    ['<REGION_TO_SEGMENTATION>', `<poly>${locations(6)}<sep>${locations(8)}</poly><poly>${locations(6)}</poly>`],
  ];
  for (const [task, text] of kept) assert.is(formatAnswer(task, text, { width: 9, height: 9 }), text);
});

function refused(task: string, answer: TypedAnswer | string, message: RegExp): void {
  assert.throws(
    () => formatAnswer(task, answer, { width: 640, height: 480 }),
    (error: unknown) => {
      if (error instanceof UsageError && message.test(error.message)) return true;
      throw new Error(`${task} ${JSON.stringify(answer)}: ${error}`);
    },
    `${task} ${JSON.stringify(answer)} is accepted`,
  );
}

test.run();
