import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Florence2 } from '../../src/florence2.ts';
import type { RawImage } from '../../src/image/types.ts';
import type { Request } from '../../src/requests.ts';
import { formatAnswer } from '../../src/results/format.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { TASKS } from '../../src/text/tasks.ts';
import { evaluate, FIGURES, type FigureName } from '../../tools/demo/evaluate.ts';
import { SUITES, type Suite } from '../../tools/demo/layout.ts';
import { drawScene, type Scene } from '../../tools/demo/scene.ts';
import { wordsRight } from '../../tools/demo/words_right.ts';

const seed = 11;
const size = { width: 128, height: 128 };

/** A model that returns the true answers about the first scenes of a suite, changed by `edit`. */
function oracle(suite: Suite, edit: (answer: string, task: string) => string): Florence2 {
  const scenes = Array.from({ length: 40 }, (_, index) => drawScene(seed, index, { suite }));
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

const outlines: readonly string[] = ['referring', 'regionOutlines'];

for (const suite of SUITES) {
  test(`${suite}: true answers have the best figures, and empty ones 0`, async () => {
    const done: number[] = [];
    const best = await evaluate(
      oracle(suite, answer => answer),
      { suite, seed, scenes: 40, onProgress: scenes => done.push(scenes) },
    );
    assert.equal(done, [32, 40]);
    assert.is(best.suite, suite);
    assert.equal(Object.keys(best.tasks).sort(), TASKS.map(({ task }) => task).sort());
    const worst = await evaluate(
      oracle(suite, () => ''),
      { suite, seed, scenes: 40 },
    );
    for (const name of Object.keys(FIGURES) as FigureName[]) {
      if (name === 'absent') continue;
      // Coordinates are rounded to bins, and masks to pixels.
      assert.ok(best.figures[name] > (outlines.includes(name) ? 0.97 : 0.999), `${name}: ${best.figures[name]}`);
      // An empty outline is right where the object is absent.
      const inReferring = suite === 'wide' && name === 'referring';
      assert.ok(inReferring ? worst.figures[name] < 0.4 : worst.figures[name] === 0, `${name}: ${worst.figures[name]}`);
    }
    assert.equal([best.figures.absent, worst.figures.absent], suite === 'wide' ? [1, 1] : [NaN, NaN]);
  });
}

test('each figure measures its own task', async () => {
  const cases: [task: string, figures: FigureName[]][] = [
    ['<OD>', ['detection', 'detection50']],
    ['<DENSE_REGION_CAPTION>', ['denseCaptions']],
    ['<OPEN_VOCABULARY_DETECTION>', ['openVocabulary']],
    ['<REGION_PROPOSAL>', ['proposals']],
    ['<OCR_WITH_REGION>', ['printedBoxes']],
    ['<REFERRING_EXPRESSION_SEGMENTATION>', ['referring']],
    ['<REGION_TO_SEGMENTATION>', ['regionOutlines']],
    ['<CAPTION>', ['captions']],
    ['<OCR>', ['printedWords']],
    ['<REGION_TO_CATEGORY>', ['regions']],
  ];
  for (const [silent, its] of cases) {
    const { figures } = await evaluate(
      oracle('plain', (answer, task) => (task === silent ? '' : answer)),
      { seed, scenes: 12 },
    );
    for (const [name, value] of Object.entries(figures)) {
      if (its.includes(name as FigureName)) assert.is(value, 0, name);
      else if (name !== 'absent') assert.ok(value > 0.97, `${name}: ${value} without ${silent}`);
    }
  }
});

test('an object named where there is none counts against `absent`', async () => {
  const box = 'red circle<loc_1><loc_1><loc_300><loc_300>';
  const { figures } = await evaluate(
    oracle('wide', (answer, task) => (answer === '' && task === '<OPEN_VOCABULARY_DETECTION>' ? box : answer)),
    { suite: 'wide', seed, scenes: 12 },
  );
  assert.is(figures.absent, 0.5); // the other half are referring expressions
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
