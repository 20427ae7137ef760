import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LayOutText, TextBlock } from '../../src/drawing/labels.ts';
import { buildScene, type Scene } from '../../src/drawing/scene.ts';
import { shapesSvg } from '../../src/drawing/svg.ts';
import { UsageError } from '../../src/errors.ts';
import type { RawImage } from '../../src/image/types.ts';
import type { Box, TaskResult } from '../../src/results/types.ts';

interface FixedWidthText extends TextBlock {
  text: string;
}

/** A font in which each character is half as wide as it is high. */
const layOutText: LayOutText<FixedWidthText> = async (text, { size, width = Infinity }) => {
  const perLine = Math.max(1, Math.floor(width / (size / 2)));
  const lines = Math.max(1, Math.ceil(text.length / perLine));
  return { text, width: Math.round(Math.min(text.length, perLine) * (size / 2)), height: Math.round(lines * size) };
};

const blank = (width: number, height: number): RawImage => ({
  data: new Uint8Array(3 * width * height),
  width,
  height,
});
const common = (imageSize: { width: number; height: number }) => ({ imageSize, answer: '', truncated: false });
const detection = (width: number, height: number, boxes: Box[]): TaskResult => ({
  task: '<OD>',
  boxes,
  ...common({ width, height }),
});
const sceneOf = (image: RawImage, results: TaskResult[], options = {}): Promise<Scene<FixedWidthText>> =>
  buildScene(image, results, options, layOutText);

test('outlines are in pixels of the drawing, large ones first', async () => {
  const boxes: Box[] = [
    { label: 'small', box: [10, 10, 20, 20] },
    { label: 'large', box: [0, 0, 100, 50] },
  ];
  const { image, outlines } = await sceneOf(blank(200, 100), [detection(100, 50, boxes)]);
  assert.equal([image.width, image.height], [400, 200], 'an image of 200x100 is enlarged by 2');
  assert.equal(
    outlines.map(({ polygons }) => polygons),
    [[[0, 0, 400, 0, 400, 200, 0, 200]], [[40, 40, 80, 40, 80, 80, 40, 80]]],
  );
});

test('labels are inside the image and do not overlap if there is room', async () => {
  const boxes = Array.from({ length: 12 }, (_, i): Box => {
    const [x, y] = [200 * (i % 4), 200 * Math.floor(i / 4)];
    return { label: `item ${i}`, confidence: 0.5, box: [x, y, x + 150, y + 150] };
  });
  const { labels } = await sceneOf(blank(800, 600), [detection(800, 600, boxes)]);
  assert.is(labels.length, 12);
  for (const [i, a] of labels.entries()) {
    const { left, top, width, height, text, textLeft, textTop } = a;
    assert.match(text.text, /^item \d+ 0\.50$/);
    assert.ok(left >= 0 && top >= 0 && left + width <= 800 && top + height <= 600, `label ${i} is in the image`);
    assert.ok(textLeft >= left && textLeft + text.width <= left + width, `text ${i} is in its label`);
    assert.ok(textTop >= top && textTop + text.height <= top + height, `text ${i} is in its label`);
    for (const b of labels.slice(0, i)) {
      const apart =
        left >= b.left + b.width || b.left >= left + width || top >= b.top + b.height || b.top >= top + height;
      assert.ok(apart, `labels ${i} and ${labels.indexOf(b)} overlap`);
    }
  }
});

/** The rectangle of a label, [left, top, right, bottom]. */
const rectangle = ({ left, top, width, height }: { left: number; top: number; width: number; height: number }) => [left, top, left + width, top + height]; // biome-ignore format: one line

/** On 900 x 400, letters are √(360,000) / 45 = 13.3 pixels high and lines √(360,000) / 230 = 3 wide. */
const canvas = blank(900, 400);
const placed = async (...boxes: Box['box'][]) => {
  const labelled = boxes.map(box => ({ label: 'ab', box }));
  return sceneOf(canvas, [detection(900, 400, labelled)], { fontSize: 20 });
};

test('a label is above its box, outside the line and its rim', async () => {
  // 'ab' is 20 x 20; with 8 pixels of padding at each side and 10 in height: 36 x 30. The rim ends 1.9 · 3 / 2 = 2.85
  // outside the box, so the label's left is 200 - 2.85, and its bottom 100 - 2.85.
  const { labels } = await placed([200, 100, 500, 300]);
  assert.equal(labels.map(rectangle), [[197, 67, 233, 97]]);
});

test('where there is no room above, a label is below; without room outside it is inside', async () => {
  const [below] = (await placed([200, 0, 500, 300])).labels;
  assert.equal(rectangle(below), [197, 303, 233, 333]); // from 300 + 2.85
  const [side] = (await placed([200, 0, 500, 400])).labels;
  assert.equal(rectangle(side), [503, 0, 539, 30]); // from 500 + 2.85
  const [inside] = (await placed([0, 0, 900, 400])).labels;
  assert.equal(rectangle(inside), [0, 0, 36, 30]);
});

test('neither the line nor a label hides a small object', async () => {
  const [a, b]: Box['box'][] = [
    [400, 200, 412, 212],
    [400, 170, 412, 182],
  ]; // b is where the label of a would be
  const { outlines, labels } = await placed(a, b);
  for (const { polygons, lineWidth, bounds } of outlines) {
    assert.is(lineWidth, 2);
    const gap = bounds[0] - Math.min(...polygons[0].filter((_, i) => i % 2 === 0));
    assert.ok(Math.abs(gap - 1.9) < 1e-9, `the inner edge of the rim touches the object: ${gap}`);
  }
  for (const label of labels.map(rectangle)) {
    for (const [x1, y1, x2, y2] of [a, b]) {
      assert.ok(label[0] >= x2 || x1 >= label[2] || label[1] >= y2 || y1 >= label[3], String(label));
    }
  }
});

test('a line differs from what is under it', async () => {
  const labels = ['first', 'second'];
  const of = async (image: RawImage) => (await sceneOf(image, [detection(600, 400, labels.map(label => ({ label, box: [100, 100, 300, 300] })))])).outlines.map(({ color }) => color); // biome-ignore format: one line
  const usual = await of(blank(600, 400));
  const [r, g, b] = [1, 3, 5].map(i => Number.parseInt(usual[0].slice(i, i + 2), 16));
  const image = blank(600, 400);
  for (let i = 0; i < image.data.length; i += 3) image.data.set([r, g, b], i);
  const onRed = await of(image);
  assert.is.not(onRed[0], usual[0], 'on the colour that it has on black');
  assert.is.not(onRed[1], onRed[0]);
});

test('long labels end in an ellipsis', async () => {
  const long: Box = { label: 'word '.repeat(100), box: [100, 100, 500, 300] };
  const { labels } = await sceneOf(blank(600, 400), [detection(600, 400, [long])]);
  assert.match(labels[0].text.text, /^word .*…$/);
});

test('the scene has a caption only if a result has a text', async () => {
  const image = blank(600, 400);
  const text: TaskResult = { task: '<CAPTION>', text: ' A cat. ', ...common(image) };
  const { caption } = await sceneOf(image, [text, text]);
  assert.is(caption?.text.text, 'A cat.\n\nA cat.');
  assert.is(caption?.width, 600);
  assert.is('caption' in (await sceneOf(image, [detection(600, 400, [{ label: 'cat', box: [0, 0, 9, 9] }])])), false);
});

test('the caption says which results are empty', async () => {
  const image = blank(600, 400);
  const note = async (...results: TaskResult[]) => (await sceneOf(image, results)).caption?.text.text;
  const nothing: TaskResult = { task: '<REGION_TO_SEGMENTATION>', instances: [{ label: '', polygons: [[], [5]] }], ...common(image) }; // biome-ignore format: one line
  assert.is(await note(detection(600, 400, [])), 'Nothing found (od)');
  assert.is(await note(nothing), 'Nothing found (region-segmentation)');
  assert.is(await note({ task: '<CAPTION>', text: ' ', ...common(image) }), 'Empty answer (caption)');
});

test('the SVG has a fill, a rim and a line for each outline, and a rectangle for each label', async () => {
  const box: Box = { label: 'cat', box: [10, 10, 300, 200] };
  const outline: TaskResult = {
    task: '<REGION_TO_SEGMENTATION>',
    instances: [
      {
        label: '',
        polygons: [
          [20, 20, 40, 20, 40, 40],
          [50, 60],
        ],
      },
    ],
    ...common({ width: 600, height: 400 }),
  };
  const svg = shapesSvg(await sceneOf(blank(600, 400), [detection(600, 400, [box]), outline]));
  assert.is(svg.match(/<g /g)?.length, 1, 'boxes are not filled');
  assert.is(svg.match(/ stroke="#000"/g)?.length, 2);
  assert.is(svg.match(/<rect /g)?.length, 1);
  assert.match(svg, /M50 60L50\.01 60Z/, 'a single point has a length');
});

test('an image whose number of pixels does not fit its size is an error', async () => {
  const error = await sceneOf({ ...blank(4, 4), width: 5 }, []).catch(error => error);
  assert.instance(error, UsageError);
});

test.run();
