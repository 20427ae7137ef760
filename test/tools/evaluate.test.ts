import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Florence2, Request } from '../../src/florence2.ts';
import type { RawImage } from '../../src/image/types.ts';
import { formatAnswer } from '../../src/results/format.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { TASKS } from '../../src/text/tasks.ts';
import { evaluate, FIGURES, type FigureName } from '../../tools/demo/evaluate.ts';
import { drawScene, type Scene } from '../../tools/demo/scene.ts';
import { wordsRight } from '../../tools/demo/words_right.ts';

const seed = 11;
const size = { width: 128, height: 128 };

/** A model that returns the true answers, changed by `edit`. */
function oracle(edit: (answer: string, task: string) => string): Florence2 {
  const scenes = Array.from({ length: 40 }, (_, index) => drawScene(seed, index));
  const sceneOf = ({ data }: RawImage): Scene => scenes.find(({ image }) => Buffer.compare(image.data, data) === 0)!;
  return {
    encodeImages: async (images: RawImage[]) => images.map(image => ({ scene: sceneOf(image), dispose() {} })),
    runBatch: async (requests: Request[]) =>
      requests.map(({ image, task, text, box }) => {
        const { targets } = (image as unknown as { scene: Scene }).scene;
        const found = targets.find(
          target => target.task === task && target.text === text && `${target.box}` === `${box}`,
        )!;
        return parse(edit(formatAnswer(task, found.answer, size), task), task, size);
      }),
  } as unknown as Florence2;
}

test('true answers have the best figures, and empty ones 0', async () => {
  const done: number[] = [];
  const best = await evaluate(
    oracle(answer => answer),
    { seed, scenes: 40, onProgress: scenes => done.push(scenes) },
  );
  assert.equal(done, [32, 40]);
  assert.equal(Object.keys(best.tasks).sort(), TASKS.map(({ task }) => task).sort());
  const worst = await evaluate(
    oracle(() => ''),
    { seed, scenes: 40 },
  );
  for (const name of Object.keys(FIGURES) as FigureName[]) {
    // Coordinates are rounded to bins, and masks to pixels.
    assert.ok(best.figures[name] > (name === 'segmentation' ? 0.97 : 0.999), `${name}: ${best.figures[name]}`);
    assert.is(worst.figures[name], 0, name);
  }
});

test('each figure measures its own task', async () => {
  const cases: [figure: FigureName, task: string][] = [
    ['detection', '<OD>'],
    ['captions', '<CAPTION>'],
    ['printedWords', '<OCR>'],
    ['regions', '<REGION_TO_CATEGORY>'],
    ['segmentation', '<REFERRING_EXPRESSION_SEGMENTATION>'],
  ];
  for (const [figure, silent] of cases) {
    const { figures } = await evaluate(
      oracle((answer, task) => (task === silent ? '' : answer)),
      { seed, scenes: 12 },
    );
    for (const [name, value] of Object.entries(figures)) {
      if (name === figure) assert.is(value, 0, name);
      else assert.ok(value > 0.97, `${name}: ${value} without ${silent}`);
    }
  }
});

test('colour and shape words count at their index', () => {
  const truth = 'a red circle, a blue star and a sign';
  const cases: [answer: string, right: number][] = [
    [truth, 4],
    ['a red circle and a blue star', 4],
    ['a red square, a blue star and a sign', 3],
    ['a blue star, a red circle and a sign', 0],
    ['a red circle', 2],
    ['a small red circle, a blue star and a green star', 4],
    ['', 0],
  ];
  for (const [answer, right] of cases) assert.equal(wordsRight(truth, answer), { right, total: 4 }, answer);
});

test.run();
