import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Target } from '../../src/datasets/example.ts';
import { tokenizeTarget } from '../../src/datasets/tokenize.ts';
import { formatAnswer } from '../../src/results/format.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { TASKS } from '../../src/text/tasks.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { sceneDataset } from '../../tools/demo/dataset.ts';
import { layOut, SCENE_SIDE, type SceneLayout, type SceneObject } from '../../tools/demo/layout.ts';
import { paint } from '../../tools/demo/paint.ts';
import { drawScene } from '../../tools/demo/scene.ts';
import { inBox, type SceneShape, SHAPES } from '../../tools/demo/shapes.ts';
import { targetsOf, textsOf, thingsOf } from '../../tools/demo/targets.ts';
import { demoTokenizer } from '../../tools/demo/tokenizer.ts';
import { PRINTED_WORDS } from '../../tools/demo/vocabulary.ts';

const size = { width: SCENE_SIDE, height: SCENE_SIDE };
const layouts = (seed: number, count: number): SceneLayout[] =>
  Array.from({ length: count }, (_, i) => layOut(seed, i));
const { json } = demoTokenizer();
const tokenizer = Tokenizer.fromFiles({ tokenizerJson: JSON.stringify(json) });

test('a scene depends on seed and index only', () => {
  for (const index of [0, 1, 12_345]) {
    assert.equal(drawScene(4, index), drawScene(4, index));
    assert.not.equal(drawScene(4, index).image.data, drawScene(5, index).image.data);
    assert.not.equal(drawScene(4, index).image.data, drawScene(4, index + 1).image.data);
  }
});

test('things are inside the image, apart from each other, and sorted from left to right', () => {
  const counts = new Map<string, number>();
  for (const layout of layouts(1, 2000)) {
    const { objects, sign } = layout;
    const key = `${objects.length}${sign ? ' and a sign' : ''}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    const boxes = thingsOf(layout).map(({ box }) => box);
    for (const [i, a] of boxes.entries()) {
      assert.ok(a[0] > 0 && a[1] > 0 && a[2] < SCENE_SIDE && a[3] < SCENE_SIDE, `${a}`);
      for (const b of boxes.slice(i + 1)) {
        assert.ok(a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1], `${a} and ${b} overlap`);
      }
    }
    const middles = objects.map(({ box }) => box[0] + box[2]);
    assert.equal(
      middles,
      middles.toSorted((a, b) => a - b),
    );
    assert.is(new Set(thingsOf(layout).map(({ name }) => name)).size, boxes.length, 'names are unique');
  }
  // A third of the scenes have a sign and one or two objects; the others have one to three.
  const expected = { '1': 2 / 9, '2': 2 / 9, '3': 2 / 9, '1 and a sign': 1 / 6, '2 and a sign': 1 / 6 };
  assert.equal([...counts.keys()].sort(), Object.keys(expected).sort());
  for (const [key, share] of Object.entries(expected)) {
    assert.ok(Math.abs(counts.get(key)! / 2000 - share) < 0.04, `${key}: ${counts.get(key)} of 2000, not ${share}`);
  }
  assert.is(layOut(1, 0, { objects: 3 }).objects.length, 3);
  assert.ok(layOut(1, 0, { shapes: ['heart'] }).objects.every(({ shape }) => shape === 'heart'));
});

test('boxes and outlines match the pixels', () => {
  const shapes = Object.keys(SHAPES) as SceneShape[];
  for (let index = 0; index < 60; index++) {
    const layout = layOut(2, index, { shapes: [shapes[index % shapes.length]] });
    for (const object of layout.objects) {
      const name = `scene ${index}: ${object.size} ${object.shape}`;
      const drawn = pixelsOf(object, layout, index, 0.5);
      const outlined = pixelsInside(inBox(SHAPES[object.shape].polygon, object.box));
      const both = drawn.filter((inside, at) => inside && outlined[at]).length;
      const either = drawn.filter((inside, at) => inside || outlined[at]).length;
      assert.ok(both / either >= 0.95, `${name}: IoU of outline and pixels ${both / either}`);
      for (const [side, edge] of bounds(pixelsOf(object, layout, index, 0.05)).entries()) {
        const off = edge - object.box[side];
        assert.ok(Math.abs(off) <= 1, `${name}: side ${side} is off by ${off} pixels`);
      }
    }
  }
});

/** Returns the pixels of which an object covers more than `part`, measured by how far they change to its colour. */
function pixelsOf(object: SceneObject, layout: SceneLayout, index: number, part: number): boolean[] {
  const others = layout.objects.filter(other => other !== object);
  const [before, after] = [others, [...others, object]].map(objects => paint({ ...layout, objects }, 2, index).data);
  return Array.from({ length: SCENE_SIDE ** 2 }, (_, at) => {
    const distance = (to: (channel: number) => number) => Math.hypot(...[0, 1, 2].map(c => to(c) - before[3 * at + c]));
    return distance(c => after[3 * at + c]) > part * distance(c => object.rgb[c]);
  });
}

/** Returns the pixels whose centre is inside a polygon: an odd number of edges lie to their right. */
function pixelsInside(points: number[]): boolean[] {
  return Array.from({ length: SCENE_SIDE ** 2 }, (_, at) => {
    const [x, y] = [(at % SCENE_SIDE) + 0.5, Math.floor(at / SCENE_SIDE) + 0.5];
    let inside = false;
    for (let i = 0, j = points.length - 2; i < points.length; j = i, i += 2) {
      const [xi, yi, xj, yj] = [points[i], points[i + 1], points[j], points[j + 1]];
      if (yi > y !== yj > y && x < xi + ((y - yi) * (xj - xi)) / (yj - yi)) inside = !inside;
    }
    return inside;
  });
}

function bounds(mask: boolean[]): number[] {
  const inside = mask.flatMap((value, at) => (value ? [[at % SCENE_SIDE, Math.floor(at / SCENE_SIDE)]] : []));
  const [xs, ys] = [inside.map(([x]) => x), inside.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs) + 1, Math.max(...ys) + 1];
}

test('printed words are large, and their boxes contain all ink', () => {
  const found = layouts(3, 60).flatMap((layout, index) => (layout.sign ? [{ layout, sign: layout.sign, index }] : []));
  assert.ok(found.length > 10);
  for (const { layout, sign, index } of found) {
    const { data } = paint({ ...layout, objects: [] }, 3, index);
    const ink = Array.from({ length: SCENE_SIDE ** 2 }, (_, at) => {
      const [x, y] = [at % SCENE_SIDE, Math.floor(at / SCENE_SIDE)];
      const onSign = x >= sign.box[0] && x < sign.box[2] && y >= sign.box[1] && y < sign.box[3];
      return onSign && data[3 * at] > 128 !== (sign.plate === 'white');
    });
    assert.ok(
      bounds(ink).every((edge, side) => Math.abs(edge - sign.textBox[side]) <= 1),
      sign.word,
    );
    assert.ok(
      sign.textBox[3] - sign.textBox[1] >= 14,
      `${sign.word} is ${sign.textBox[3] - sign.textBox[1]} pixels high`,
    );
  }
});

test('scenes have targets for all tasks, whose answers survive formatting and parsing', () => {
  const tasks = new Set<string>();
  for (const target of layouts(4, 300).flatMap(targetsOf)) {
    tasks.add(target.task);
    const read = parse(formatAnswer(target.task, target.answer, size), target.task, size);
    compare(read as unknown as Record<string, unknown>, target.answer as unknown as Record<string, unknown>, target);
  }
  assert.equal([...tasks].sort(), TASKS.map(({ task }) => task).sort());
});

/** Asserts that `read` has every field of the truth, and coordinates within half a bin. */
function compare(read: unknown, truth: unknown, target: Target): void {
  if (typeof truth === 'number') {
    assert.ok(Math.abs((read as number) - truth) <= SCENE_SIDE / 2000 + 1e-4, `${target.task}: ${read}, not ${truth}`);
  } else if (typeof truth === 'object' && truth !== null) {
    if (Array.isArray(truth)) assert.is((read as unknown[]).length, truth.length, target.task);
    for (const [key, value] of Object.entries(truth)) compare((read as Record<string, unknown>)[key], value, target);
  } else assert.is(read, truth, target.task);
}

test('every word of prompts and scenes is one token, and printed words are spelt in letters', () => {
  const words = new Set<string>();
  for (const target of layouts(5, 500).flatMap(targetsOf)) {
    for (const text of textsOf(target)) for (const [word] of text.matchAll(/ ?\p{L}+| ?[^\s\p{L}]+/gu)) words.add(word);
  }
  for (const { prompt } of TASKS) {
    for (const [word] of prompt.replace('{input}', '').matchAll(/^\p{L}+| \p{L}+/gu)) words.add(word);
  }
  const printed = new Set<string>(PRINTED_WORDS);
  for (const word of words) {
    const tokens = tokenizer.tokens(tokenizer.encode(word, { addSpecialTokens: false }));
    if (printed.has(word)) assert.equal(tokens, [...word]);
    else assert.is(tokens.length, 1, `${JSON.stringify(word)} is ${tokens.join(' ')}`);
  }
  assert.ok(words.size < 300, `${words.size} words`);
  const limits = { maxPositions: 128, imageTokens: 17 };
  for (const target of layouts(6, 300).flatMap(targetsOf)) {
    const { promptIds, answerIds } = tokenizeTarget(target, size, tokenizer, limits);
    assert.ok(
      promptIds.length <= 30 && answerIds.length <= 50,
      `${target.task}: ${promptIds.length}, ${answerIds.length}`,
    );
    const text = formatAnswer(target.task, target.answer, size);
    assert.is(tokenizer.decode(answerIds.slice(1, -1)), text);
  }
});

test('a dataset of scenes draws targets of different tasks, and of all tasks', async () => {
  const dataset = sceneDataset(7, 1500, { targetsPerScene: 4 });
  const counts = new Map<string, number>();
  for (let i = 0; i < dataset.length; i++) {
    const { targets, source } = await dataset.example(i);
    assert.is(new Set(targets.map(({ task }) => task)).size, 4, source);
    for (const { task } of targets) counts.set(task, (counts.get(task) ?? 0) + 1);
  }
  for (const { task } of TASKS) assert.ok(counts.get(task)! > 160, `${task}: ${counts.get(task)} of 6000`);
  assert.equal(await dataset.example(3), await sceneDataset(7, 10, { targetsPerScene: 4 }).example(3));
  assert.equal((await sceneDataset(7, 10).example(0)).targets, drawScene(7, 0).targets);
});

test.run();
