import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Target } from '../../../src/datasets/example.ts';
import { UsageError } from '../../../src/errors.ts';
import type { Mask } from '../../../src/geometry/masks.ts';
import type { RawImage } from '../../../src/image/types.ts';
import { randomStream } from '../../../src/random.ts';
import { formatAnswer, type TypedAnswer } from '../../../src/results/format.ts';
import { type AugmentOptions, augment, type DecodedExample } from '../../../src/training/augment/augment.ts';
import { adjustColours } from '../../../src/training/augment/pixels.ts';

const [WIDTH, HEIGHT] = [90, 60];
const COLOURS = [
  [255, 0, 0],
  [0, 255, 0],
  [0, 0, 255],
];
type Corners = [number, number, number, number];

/** Draws three separate rectangles of different colours on black. */
function scene(random: () => number): { image: RawImage; boxes: Corners[] } {
  const data = new Uint8Array(3 * WIDTH * HEIGHT);
  const boxes = COLOURS.map((colour, i): Corners => {
    const integer = (from: number, to: number): number => from + Math.floor(random() * (to - from));
    const [x1, y1] = [30 * i + integer(0, 15), integer(0, 40)];
    const [x2, y2] = [x1 + integer(4, 15), y1 + integer(4, 20)];
    for (let y = y1; y < y2; y++) for (let x = x1; x < x2; x++) data.set(colour, 3 * (y * WIDTH + x));
    return [x1, y1, x2, y2];
  });
  return { image: { data, width: WIDTH, height: HEIGHT }, boxes };
}

/** Returns the mask of a colour: pixels whose channel is above half while the others are low. */
function maskOf({ data, width, height }: RawImage, channel: number): Mask {
  const level = (i: number, c: number): number => data[3 * i + c];
  const inside = (_: unknown, i: number): number =>
    Number(level(i, channel) > 127 && [0, 1, 2].every(c => c === channel || level(i, c) < 80));
  return { width, height, data: Uint8Array.from({ length: width * height }, inside) };
}

function boundsOf(mask: Mask): Corners | undefined {
  const at = [...mask.data.keys()].filter(i => mask.data[i]);
  const [xs, ys] = [at.map(i => i % mask.width), at.map(i => Math.floor(i / mask.width))];
  return at.length === 0 ? undefined : [Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1];
}

const outline = ([x1, y1, x2, y2]: Corners): number[] => [x1, y1, x2, y1, x2, y2, x1, y2];

function exampleOf(image: RawImage, ...targets: Target[]): DecodedExample {
  return { image, targets, source: 'here' };
}

const boxesOf = (target: Target): { label: string; box: number[] }[] =>
  (target.answer as { boxes: { label: string; box: number[] }[] }).boxes;

test('boxes match their pixels after flips, crops and scales', () => {
  const cases: [options: AugmentOptions, tolerance: number][] = [
    [{ flip: 1 }, 0],
    [{ crop: 0.4, minVisible: 0 }, 0],
    [{ flip: 0.5, crop: 0.3, minVisible: 0 }, 0],
    [{ scale: 0.5 }, 1],
    [{ flip: 0.5, crop: 0.6, scale: 0.7, minVisible: 0 }, 1],
  ];
  for (const [options, tolerance] of cases) {
    const random = randomStream(1, JSON.stringify(options));
    let compared = 0;
    for (let round = 0; round < 60; round++) {
      const { image, boxes } = scene(random);
      const labelled = boxes.map((box, i) => ({ label: String(i), box }));
      const after = augment(exampleOf(image, { task: '<OD>', answer: { boxes: labelled } }), options, random);
      const where = `${JSON.stringify(options)} ${round}`;
      assert.is(after.image.data.length, 3 * after.image.width * after.image.height);
      assert.equal(after.imageSize, { width: after.image.width, height: after.image.height });
      for (let i = 0; i < 3; i++) {
        const seen = boundsOf(maskOf(after.image, i));
        const moved = boxesOf(after.targets[0]).find(({ label }) => label === String(i))?.box;
        if (tolerance > 0 && (!seen || !moved)) continue; // resizing may blur slivers away
        assert.is(moved === undefined, seen === undefined, `${where}: colour ${i} is at ${seen}, not ${moved}`);
        if (!moved || !seen) continue;
        const off = Math.max(...moved.map((value, k) => Math.abs(value - seen[k])));
        assert.ok(off <= tolerance, `${where}: colour ${i} is at ${seen}, not ${moved}`);
        compared++;
      }
    }
    assert.ok(compared > 60, `${JSON.stringify(options)}: ${compared}`);
  }
});

test('polygons, phrases and the regions of prompts move like boxes', () => {
  const options = { flip: 0.5, crop: 0.5, minVisible: 0.5 };
  const random = randomStream(2, 'all');
  let [compared, dropped] = [0, 0];
  for (let round = 0; round < 80; round++) {
    const { image, boxes } = scene(random);
    const [box] = boxes;
    const after = augment(
      exampleOf(
        image,
        { task: '<OD>', answer: { boxes: [{ label: 'a', box }] } },
        { task: '<CAPTION_TO_PHRASE_GROUNDING>', text: 'a', answer: { phrases: [{ phrase: 'a', boxes: [{ box }] }] } },
        { task: '<REGION_TO_SEGMENTATION>', box, answer: { instances: [{ label: '', polygons: [outline(box)] }] } },
        { task: '<REGION_TO_CATEGORY>', box, answer: { text: 'a' } },
        { task: '<OPEN_VOCABULARY_DETECTION>', text: 'a', answer: { boxes: [{ label: 'a', box }] } },
      ),
      options,
      random,
    );
    const moved = boxesOf(after.targets[0])[0]?.box;
    const named = (task: string): Target | undefined => after.targets.find(target => target.task === task);
    if (!moved) {
      assert.equal(
        after.targets,
        [{ task: '<OD>', answer: { boxes: [] } }],
        'targets that request a dropped object are dropped',
      );
      dropped++;
      continue;
    }
    assert.is(after.targets.length, 5);
    assert.equal(named('<CAPTION_TO_PHRASE_GROUNDING>')!.answer, {
      phrases: [{ phrase: 'a', boxes: [{ box: moved }] }],
    });
    assert.equal(named('<OPEN_VOCABULARY_DETECTION>')!.answer, { boxes: [{ label: 'a', box: moved }] });
    assert.equal(named('<REGION_TO_CATEGORY>'), { task: '<REGION_TO_CATEGORY>', box: moved, answer: { text: 'a' } });
    const { box: region, answer } = named('<REGION_TO_SEGMENTATION>')!;
    assert.equal(region, moved);
    const { instances } = answer as unknown as { instances: { polygons: number[][] }[] };
    const polygon = instances[0].polygons[0];
    const bounds = [0, 1].flatMap(last =>
      [0, 1].map(axis => (last ? Math.max : Math.min)(...polygon.filter((_, i) => i % 2 === axis))),
    );
    assert.equal(bounds, moved);
    assert.ok(signedArea(polygon) > 0, 'outlines stay clockwise');
    compared++;
  }
  assert.ok(compared > 20 && dropped > 5, `${compared} compared, ${dropped} dropped`);
});

function signedArea(polygon: number[]): number {
  let sum = 0;
  for (let i = 0; i < polygon.length; i += 2) {
    const next = (i + 2) % polygon.length;
    sum += polygon[i] * polygon[next + 1] - polygon[next] * polygon[i + 1];
  }
  return sum / 2;
}

test('location tokens move to the mirrored bins, without loss', () => {
  const image: RawImage = { data: new Uint8Array(3 * 37 * 23), width: 37, height: 23 };
  const cases: [target: Target, expected: Partial<Target>][] = [
    [
      {
        task: '<OD>',
        answer: 'dog<loc_0><loc_1><loc_300><loc_4><loc_5><loc_6><loc_7><loc_8>cat<loc_9><loc_9><loc_999><loc_999>',
      },
      {
        answer:
          'dog<loc_699><loc_1><loc_999><loc_4><loc_992><loc_6><loc_994><loc_8>cat<loc_0><loc_9><loc_990><loc_999>',
      },
    ],
    [
      { task: '<CAPTION_TO_PHRASE_GROUNDING>', text: 'it', answer: 'it<loc_0><loc_1><loc_300><loc_4>' },
      { answer: 'it<loc_699><loc_1><loc_999><loc_4>' },
    ],
    [
      {
        task: '<REGION_TO_SEGMENTATION>',
        text: '<loc_0><loc_1><loc_300><loc_4>',
        answer: '<loc_0><loc_0><loc_300><loc_0><loc_300><loc_9>',
      },
      { answer: '<loc_699><loc_9><loc_699><loc_0><loc_999><loc_0>' },
    ],
  ];
  for (const [target, expected] of cases) {
    const after = augment(exampleOf(image, target), { flip: 1 }, () => 0.5);
    const text = formatAnswer(target.task, after.targets[0].answer, after.imageSize!);
    assert.is(text, expected.answer);
    const back = augment(after, { flip: 1 }, () => 0.5);
    if (target.task !== '<REGION_TO_SEGMENTATION>')
      assert.is(formatAnswer(target.task, back.targets[0].answer, image), target.answer);
  }
  const [{ text, box }] = augment(exampleOf(image, cases[2][0]), { flip: 1 }, () => 0.5).targets;
  assert.is(text, undefined, 'a region in location tokens becomes a box');
  assert.ok(Math.abs((box as number[])[0] - 0.6995 * 37) < 1e-4);
});

test('a change is applied only if all targets stay true', () => {
  const { image } = scene(randomStream(3, 'true'));
  const box = [10, 10, 40, 40];
  const od: Target = { task: '<OD>', answer: { boxes: [{ label: 'dog', box }] } };
  const flip = { flip: 1 };
  const crop = { crop: 0.5 };
  const cases: [about: string, options: AugmentOptions, targets: Target[], changes: boolean][] = [
    ['objects', flip, [od], true],
    ['a caption', flip, [{ task: '<CAPTION>', answer: { text: 'A dog.' } }], true],
    ['a caption that says left', flip, [{ task: '<CAPTION>', answer: { text: 'A dog on the Left.' } }], false],
    ['a caption that says rightmost', flip, [{ task: '<CAPTION>', answer: 'The rightmost dog.' }], false],
    ['words that contain left inside', flip, [{ task: '<CAPTION>', answer: 'A bright cleft.' }], true],
    ['a label', flip, [{ task: '<OD>', answer: { boxes: [{ label: 'left hand', box }] } }], false],
    ['a prompt', flip, [{ task: '<OPEN_VOCABULARY_DETECTION>', text: 'the right dog', answer: { boxes: [] } }], false],
    ['one target of several', flip, [od, { task: '<CAPTION>', answer: 'left' }], false],
    ['text', flip, [{ task: '<OCR>', answer: { text: 'ABC' } }], false],
    ['lines of text', flip, [{ task: '<OCR_WITH_REGION>', answer: { quads: [] } }], false],
    ['text in a region', flip, [{ task: '<REGION_TO_OCR>', box, answer: { text: 'A' } }], false],
    ['a custom prompt', flip, [{ task: 'What is it?', answer: 'A dog.' }], false],
    ['objects', crop, [od], true],
    ['a caption', crop, [od, { task: '<CAPTION>', answer: { text: 'A dog.' } }], false],
    ['text', crop, [{ task: '<OCR>', answer: { text: 'ABC' } }], false],
    ['a custom prompt', crop, [{ task: 'What is it?', answer: 'A dog.' }], false],
    ['a custom prompt', { scale: 0.5 }, [{ task: 'What is it?', answer: 'A dog.' }], true],
    [
      'a crop that drops the only target',
      { crop: 0.2 },
      [{ task: '<REGION_TO_CATEGORY>', box: [80, 50, 90, 60], answer: { text: 'a' } }],
      false,
    ],
    ['no options', {}, [od], false],
  ];
  for (const [about, options, targets, changes] of cases) {
    const example = exampleOf(image, ...targets);
    const before = JSON.stringify([example.targets, [...image.data]]);
    const after = augment(example, options, () => 0.1);
    const where = `${about} ${JSON.stringify(options)}`;
    assert.is(JSON.stringify([example.targets, [...image.data]]), before, `${where}: the original example is changed`);
    const same = after.image.width === WIDTH && after.image.data.every((value, i) => value === image.data[i]);
    assert.is(!same, changes, where);
    if (!changes) assert.equal(after.targets, targets, where);
  }
});

test('a crop drops objects with too little left, and any text that it cuts', () => {
  const image: RawImage = { data: new Uint8Array(3 * 100 * 10), width: 100, height: 10 };
  const half = (): number => 0; // crop 0.5 keeps the left upper quarter: 50 x 5 pixels
  const box = (x1: number, x2: number): { label: string; box: number[] } => ({ label: `${x1}`, box: [x1, 0, x2, 5] });
  const quad = (x1: number, x2: number) => ({ text: `${x1}`, quad: [x1, 0, x2, 0, x2, 5, x1, 5] });
  const cropped = (answer: TypedAnswer, task: string, minVisible?: number, region?: number[]): Target | undefined => {
    const target = { task, answer, ...(region && { box: region }) };
    const other: Target = { task: '<OD>', answer: { boxes: [] } };
    const { targets, imageSize } = augment(exampleOf(image, other, target), { crop: 0.5, minVisible }, half);
    assert.equal(imageSize, { width: 50, height: 5 });
    return targets[1];
  };
  const boxes = {
    boxes: [box(0, 50), box(10, 60), box(30, 69), box(30, 71), box(49, 100), box(60, 70), box(50, 50), box(51, 51)],
  };
  assert.equal(cropped(boxes, '<OD>')!.answer, {
    boxes: [box(0, 50), { label: '10', box: [10, 0, 50, 5] }, { label: '30', box: [30, 0, 50, 5] }, box(50, 50)],
  });
  assert.is(boxesOf(cropped(boxes, '<OD>', 0)!).length, 6);
  const quads = { quads: [quad(0, 50), quad(0, 50.4), quad(10, 51), quad(60, 70)] };
  assert.equal(cropped(quads, '<OCR_WITH_REGION>', 0)!.answer, {
    quads: [quad(0, 50), { text: '0', quad: [0, 0, 50, 0, 50, 5, 0, 5] }],
  });
  assert.ok(cropped({ text: 'A' }, '<REGION_TO_OCR>', 0, [0, 0, 50, 5]));
  assert.not(cropped({ text: 'A' }, '<REGION_TO_OCR>', 0, [0, 0, 51, 5]));
  assert.ok(cropped({ text: 'A' }, '<REGION_TO_CATEGORY>', 0, [0, 0, 99, 5]));
  assert.not(cropped({ text: 'A' }, '<REGION_TO_CATEGORY>', undefined, [10, 0, 99, 5]));
  // Only the part inside the image counts: 45 of its 50 pixels remain.
  assert.ok(cropped({ text: 'A' }, '<REGION_TO_CATEGORY>', 0.9, [-1000, -1000, 55, 5]));
});

test("adjusted colours are bit-identical to Pillow's", () => {
  const file = JSON.parse(readFileSync(new URL('./pillow_colours.json', import.meta.url), 'utf8'));
  const pixels = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'base64'));
  const image = { data: pixels(file.pixels), width: file.width, height: file.height };
  assert.ok(file.cases.length >= 30);
  for (const { pixels: expected, ...factors } of file.cases) {
    assert.equal(adjustColours(image, factors).data, pixels(expected), JSON.stringify(factors));
  }
});

test('equal random numbers give equal results; eleven are drawn', () => {
  const { image } = scene(randomStream(5, 'same'));
  const example = exampleOf(image, { task: '<OD>', answer: { boxes: [] } });
  const options = { flip: 0.5, crop: 0.5, scale: 0.5, brightness: 0.3, contrast: 0.3, saturation: 0.3 };
  for (const given of [options, {}]) {
    let taken = 0;
    const counted = (seed: number): (() => number) => {
      const random = randomStream(seed);
      return () => {
        taken++;
        return random();
      };
    };
    const [a, b] = [augment(example, given, counted(1)), augment(example, given, counted(1))];
    assert.is(taken, 22);
    assert.equal(a, b);
    if (given === options) assert.not.equal(augment(example, given, counted(2)), a);
  }
});

test('refused: options out of range, and custom prompts with location tokens', () => {
  const { image } = scene(randomStream(6, 'refused'));
  const own: Target = { task: 'Where is the dog?', answer: 'at <loc_5><loc_6>' };
  const cases: [options: AugmentOptions, target: Target, message: RegExp][] = [
    [{ flip: 1.5 }, own, /^flip must be a number from 0 to 1, not 1\.5/],
    [{ brightness: Number.NaN }, own, /^brightness must be a number from 0 to 1, not NaN/],
    [{ crop: 0 }, own, /^crop must be a number above 0, at most 1, not 0/],
    [{ flip: 0.1 }, own, /^The prompt "Where is the dog\?" is a custom prompt with location tokens/],
    [{ scale: 0.5 }, { task: 'What is at <loc_5>?', answer: 'a dog' }, /^The prompt "What is at/],
  ];
  for (const [options, target, message] of cases) {
    assert.throws(
      () => augment(exampleOf(image, target), options, () => 0.9),
      (error: unknown) => error instanceof UsageError && message.test(error.message),
      JSON.stringify(options),
    );
  }
  assert.equal(augment(exampleOf(image, own), { brightness: 0.5 }, () => 0.9).targets, [own], 'colours may be changed');
});

test.run();
