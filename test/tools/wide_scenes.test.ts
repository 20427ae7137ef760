import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Target } from '../../src/datasets/example.ts';
import { tokenizeTarget } from '../../src/datasets/tokenize.ts';
import { formatAnswer } from '../../src/results/format.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { TASKS } from '../../src/text/tasks.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { SCENE_SIDE, type SceneObject } from '../../tools/demo/layout.ts';
import { drawScene, type Scene } from '../../tools/demo/scene.ts';
import { inBox, SHAPES } from '../../tools/demo/shapes.ts';
import { demoTokenizer } from '../../tools/demo/tokenizer.ts';

const size = { width: SCENE_SIDE, height: SCENE_SIDE };
const scenes = Array.from({ length: 150 }, (_, index) => drawScene(31, index, { suite: 'wide' }));
const { json } = demoTokenizer();
const tokenizer = Tokenizer.fromFiles({ tokenizerJson: JSON.stringify(json) });

const targetsFor = (scene: Scene, task: string): Target[] => scene.targets.filter(target => target.task === task);

/** Returns the words that must hold of an object for a phrase to mean it, read word by word. */
function means(phrase: string, { color, size, shape, box }: SceneObject): boolean {
  const [x, y] = [(box[0] + box[2]) / 2 / SCENE_SIDE, (box[1] + box[3]) / 2 / SCENE_SIDE];
  const holds: Record<string, boolean> = {
    ...{ left: x < 1 / 3, right: x >= 2 / 3, top: y < 1 / 3, bottom: y >= 2 / 3 },
    center: x >= 1 / 3 && x < 2 / 3 && y >= 1 / 3 && y < 2 / 3,
  };
  const words = phrase.split(' ').filter(word => !['the', 'a', 'an', 'at'].includes(word));
  return words.every(word => holds[word] ?? [color, size, shape].includes(word as never));
}

test('a wide scene depends on seed and index only, and differs from the plain one', () => {
  assert.equal(drawScene(31, 3, { suite: 'wide' }), scenes[3]);
  assert.not.equal(drawScene(31, 3).image.data, scenes[3].image.data);
});

test('objects overlap, repeat and touch the border, but stay inside the image and visible', () => {
  const seen = { overlaps: 0, repeats: 0, atTheBorder: 0, photographic: 0 };
  for (const { objects, sign, background } of scenes) {
    const names = objects.map(({ color, shape }) => `${color} ${shape}`);
    seen.repeats += Number(new Set(names).size < names.length);
    seen.photographic += Number(background.kind === 'photographic');
    for (const [i, { box: a }] of objects.entries()) {
      assert.ok(Math.min(a[0], a[1]) >= 0 && Math.max(a[2], a[3]) <= SCENE_SIDE, `${a}`);
      seen.atTheBorder += Number(Math.min(a[0], a[1], SCENE_SIDE - a[2], SCENE_SIDE - a[3]) < 3);
      for (const b of [...objects.slice(i + 1).map(({ box }) => box), ...(sign ? [sign.box] : [])]) {
        const [w, h] = [0, 1].map(at => Math.min(a[at + 2], b[at + 2]) - Math.max(a[at], b[at]));
        if (w <= 0 || h <= 0) continue;
        assert.not.equal(b, sign?.box, 'nothing covers the sign');
        assert.ok((w * h) / Math.min(a[2] - a[0], b[2] - b[0]) ** 2 <= 0.35 + 1e-9, `${a} and ${b}`);
        seen.overlaps++;
      }
    }
  }
  for (const [what, count] of Object.entries(seen)) assert.ok(count > 15, `${what}: ${count} in 150 scenes`);
});

test('signs have three fonts and both cases', () => {
  const signs = scenes.flatMap(({ sign }) => sign ?? []);
  assert.equal([...new Set(signs.map(({ font }) => font))].sort(), ['hand', 'sans', 'slab']);
  const small = signs.filter(({ word }) => word === word.toLowerCase()).length / signs.length;
  assert.ok(small > 0.3 && small < 0.7, `${small} in small letters`);
});

test('a referring phrase means exactly the object that it outlines, or nothing', () => {
  let absent = 0;
  for (const scene of scenes) {
    for (const { text, answer } of targetsFor(scene, '<REFERRING_EXPRESSION_SEGMENTATION>')) {
      if (text === 'the sign') continue;
      const { instances } = answer as unknown as { instances: { polygons: number[][] }[] };
      const meant = scene.objects.filter(object => means(text!, object));
      absent += Number(meant.length === 0);
      const outlines = meant.map(({ shape, box }) => [inBox(SHAPES[shape].polygon, box)]);
      assert.equal(
        instances.map(({ polygons }) => polygons),
        outlines,
        text,
      );
    }
  }
  assert.is(absent, scenes.length);
});

test('open vocabulary and grounding find every object of a name, and nothing for an absent one', () => {
  let absent = 0;
  for (const scene of scenes) {
    const boxesOf = (name: string) =>
      name === 'sign' ? [scene.sign!.box] : scene.objects.filter(object => means(name, object)).map(({ box }) => box);
    for (const { text, answer } of targetsFor(scene, '<OPEN_VOCABULARY_DETECTION>')) {
      const { boxes } = answer as { boxes: { label: string; box: number[] }[] };
      absent += Number(boxes.length === 0);
      assert.equal(
        boxes,
        boxesOf(text!).map(box => ({ label: text, box })),
      );
    }
    const [{ text, answer }] = targetsFor(scene, '<CAPTION_TO_PHRASE_GROUNDING>');
    const { phrases } = answer as { phrases: { phrase: string; boxes: { box: number[] }[] }[] };
    const named = text!.split(/, | and /).map(phrase => phrase.replace(/^an? /, ''));
    const present = named.filter(name => boxesOf(name).length > 0);
    assert.ok(named.length - present.length <= 1, text);
    assert.equal(
      phrases.map(({ phrase, boxes }) => [phrase.replace(/^an? /, ''), boxes.map(({ box }) => box)]),
      present.map(name => [name, boxesOf(name)]),
    );
  }
  assert.is(absent, scenes.length);
});

test('all tasks occur; their answers survive formatting and fit the model', () => {
  const tasks = new Set<string>();
  const limits = { maxPositions: 128, imageTokens: 17 };
  for (const target of scenes.flatMap(({ targets }) => targets)) {
    tasks.add(target.task);
    const text = formatAnswer(target.task, target.answer, size);
    const { promptIds, answerIds } = tokenizeTarget(target, size, tokenizer, limits);
    assert.ok(
      promptIds.length <= 36 && answerIds.length <= 64,
      `${target.task}: ${promptIds.length}, ${answerIds.length}`,
    );
    assert.is(tokenizer.decode(answerIds.slice(1, -1)), text);
    const again = parse(text, target.task as never, size);
    assert.is(formatAnswer(target.task, again as never, size), text, target.task);
  }
  assert.equal([...tasks].sort(), TASKS.map(({ task }) => task).sort());
});

test.run();
