import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Target } from '../../src/datasets/example.ts';
import { UsageError } from '../../src/errors.ts';
import { Evaluator, mainMetric } from '../../src/evaluation/evaluator.ts';
import type { TypedAnswer } from '../../src/results/format.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { taskKey } from '../../src/text/tasks.ts';

const image = { width: 1000, height: 1000 }; // a bin is a pixel

const locations = (...bins: number[]): string => bins.map(bin => `<loc_${bin}>`).join('');

/** Returns the metrics of one answer, given as text. */
function metricsOf(task: string, truth: TypedAnswer | string, answer: string, options = {}): Record<string, number> {
  const evaluator = new Evaluator(options);
  const known = taskKey(task);
  evaluator.add({ task, answer: truth }, image, parse(answer, task, image, options));
  assert.equal(Object.keys(evaluator.metrics()), [known]);
  return evaluator.metrics()[known];
}

const square = [100, 100, 200, 200];
const centres = (...bins: number[]) => bins.map(bin => bin + 0.5);
const outline = (x1: number, y1: number, x2: number, y2: number) => [x1, y1, x2, y1, x2, y2, x1, y2];
const all = { mAP: 1, mAP50: 1, mAP75: 1 };
const none = { mAP: 0, mAP50: 0, mAP75: 0 };

const cases: [what: string, task: string, truth: TypedAnswer | string, answer: string, metrics: object][] = [
  [
    'detection, per class',
    '<OD>',
    { boxes: [{ label: 'cat', box: centres(...square) }, { label: 'dog', box: [0, 0, 50, 50] }] },
    `cat${locations(...square)}`,
    { mAP: 0.5, mAP50: 0.5, mAP75: 0.5, count: 1, 'AP/cat': 1, 'AP/dog': 0 },
  ],
  [
    'detection, true answer as text',
    '<OD>',
    `cat${locations(...square)}`,
    `cat${locations(...square)}`,
    { ...all, count: 1, 'AP/cat': 1 },
  ],
  [
    'the right box with the wrong class',
    '<OD>',
    `cat${locations(...square)}`,
    `dog${locations(...square)}`,
    { ...none, count: 1, 'AP/cat': 0 },
  ],
  ['an image without objects', '<OD>', { boxes: [] }, `cat${locations(...square)}`, { count: 1 }],
  [
    'true labels lose the characters that the parser removes',
    '<OD>',
    { boxes: [{ label: ' café ', box: centres(...square) }] },
    `café${locations(...square)}`,
    { ...all, count: 1, 'AP/caf': 1 },
  ],
  [
    'proposals ignore true labels',
    '<REGION_PROPOSAL>',
    { boxes: [{ label: 'cat', box: centres(...square) }] },
    locations(...square),
    { ...all, count: 1 },
  ],
  [
    'dense captions: whole captions are classes, and similarity counts too',
    '<DENSE_REGION_CAPTION>',
    { boxes: [{ label: 'a red cat', box: centres(...square) }, { label: 'a dog', box: [0, 0, 50, 50] }] },
    `a bad cat${locations(...square)}`,
    { ...none, meanIoU: 0.5, editSimilarity: (1 - 2 / 9) / 2, count: 1 },
  ],
  [
    'phrases',
    '<CAPTION_TO_PHRASE_GROUNDING>',
    { phrases: [{ phrase: 'a cat', boxes: [{ box: square }] }, { phrase: 'a dog', boxes: [{ box: square }] }] },
    `a cat${locations(...square)}`,
    { recallAt1: 0.5, count: 1 },
  ],
  [
    'phrases that the parser omits are not expected',
    '<CAPTION_TO_PHRASE_GROUNDING>',
    { phrases: [{ phrase: 'it', boxes: [{ box: square }] }, { phrase: 'a cat', boxes: [{ box: square }] }] },
    `it${locations(...square)}a cat${locations(...square)}`,
    { recallAt1: 1, count: 1 },
  ],
  [
    'segmentation ignores true labels',
    '<REFERRING_EXPRESSION_SEGMENTATION>',
    { instances: [{ label: 'cat', polygons: [outline(0, 0, 19, 9)] }] },
    locations(...outline(0, 0, 9, 9)),
    { meanIoU: 0.5, count: 1 },
  ],
  [
    'open vocabulary with boxes',
    '<OPEN_VOCABULARY_DETECTION>',
    { boxes: [{ label: 'cat', box: centres(...square) }] },
    `cat${locations(...square)}`,
    { ...all, count: 1, 'AP/cat': 1 },
  ],
  [
    'open vocabulary with polygons, per label',
    '<OPEN_VOCABULARY_DETECTION>',
    { boxes: [], instances: [{ label: 'cat', polygons: [outline(0, 0, 9, 9)] }, { label: 'dog', polygons: [outline(50, 50, 59, 59)] }] },
    `cat<poly>${locations(...outline(0, 0, 9, 9))}</poly>cow<poly>${locations(...outline(50, 50, 59, 59))}</poly>`,
    { meanIoU: 1 / 3, count: 1 },
  ],
  [
    'open vocabulary, true polygons answered with boxes',
    '<OPEN_VOCABULARY_DETECTION>',
    `cat<poly>${locations(...outline(0, 0, 9, 9))}</poly>`,
    `cat${locations(0, 0, 9, 9)}`,
    { meanIoU: 0, count: 1 },
  ],
  [
    'OCR with regions: boxes are one class, texts are compared by box',
    '<OCR_WITH_REGION>',
    { quads: [{ text: 'STOP', quad: centres(...outline(100, 100, 200, 200)) }, { text: 'GO', quad: outline(0, 0, 20, 20) }] },
    `SHOP${locations(...outline(100, 100, 200, 200))}GO${locations(...outline(700, 700, 720, 720))}`,
    { mAP: 51 / 101, mAP50: 51 / 101, mAP75: 51 / 101, editSimilarity: 0.75 / 2, exactMatch: 0, count: 1 },
  ],
  ['a caption', '<CAPTION>', { text: 'a red ball' }, 'a red bell', { editSimilarity: 0.9, exactMatch: 0, count: 1 }],
  ['a custom prompt', '<DocVQA>How much?', '12 EUR', ' 12 EUR', { editSimilarity: 1, exactMatch: 1, count: 1 }],
]; // biome-ignore format: as a table

const round = (metrics: object) =>
  Object.fromEntries(Object.entries(metrics).map(([k, v]) => [k, Math.round(v * 1e9)]));

for (const [what, task, truth, answer, expected] of cases) {
  test(what, () => {
    const metrics = metricsOf(task, truth, answer);
    assert.equal(round(metrics), round(expected), JSON.stringify(metrics));
  });
}

test('with keepUnicode labels are compared unchanged', () => {
  const truth = { boxes: [{ label: 'café', box: centres(...square) }] };
  const metrics = metricsOf('<OD>', truth, `café${locations(...square)}`, { keepUnicode: true });
  assert.is(metrics['AP/café'], 1);
});

test('answers of several images are averaged, and tasks are separate', () => {
  const evaluator = new Evaluator();
  const add = (task: string, truth: string, answer: string) =>
    evaluator.add({ task, answer: truth }, image, parse(answer, task, image));
  add('<CAPTION>', 'a', 'a');
  add('<CAPTION>', 'a', 'b');
  add('<OCR>', 'ab', 'ac');
  add('<VQA>Is it red?', 'yes', 'yes');
  add('<VQA>Is it blue?', 'no', 'no');
  add('Is it green?', 'no', 'no');
  assert.equal(evaluator.metrics(), {
    '<CAPTION>': { editSimilarity: 0.5, exactMatch: 0.5, count: 2 },
    '<OCR>': { editSimilarity: 0.5, exactMatch: 0, count: 1 },
    '<VQA>': { editSimilarity: 1, exactMatch: 1, count: 2 },
    prompt: { editSimilarity: 1, exactMatch: 1, count: 1 },
  });
});

test('found boxes are ranked by confidence, without one by score', () => {
  const evaluator = new Evaluator();
  const target: Target = { task: '<OD>', answer: `cat${locations(...square)}` };
  const result = parse(`cat${locations(500, 500, 600, 600)}cat${locations(...square)}`, '<OD>', image);
  evaluator.add(target, image, result);
  result.boxes.forEach((box, i) => {
    box.score = i ? 0.9 : 0.1;
  });
  const scored = new Evaluator();
  scored.add(target, image, result);
  assert.is(evaluator.metrics()['<OD>'].mAP, 0.5);
  assert.is(scored.metrics()['<OD>'].mAP, 1);
  result.boxes.forEach((box, i) => {
    box.confidence = i ? 0.1 : 0.9; // the other way round
  });
  const sure = new Evaluator();
  sure.add(target, image, result);
  assert.is(sure.metrics()['<OD>'].mAP, 0.5);
});

test('a truth of another kind is refused and does not count', () => {
  const evaluator = new Evaluator();
  const result = parse('', '<OD>', image);
  assert.throws(
    () => evaluator.add({ task: '<OD>', answer: { text: 'a cat' } }, image, result),
    (e: unknown) =>
      e instanceof UsageError && e.message === 'An answer to <OD> cannot be compared with a true answer that has text.',
  );
  assert.equal(evaluator.metrics(), {});
});

test('one metric summarises each task', () => {
  const asked = [
    '<OD>',
    '<DENSE_REGION_CAPTION>',
    '<CAPTION_TO_PHRASE_GROUNDING>',
    '<REGION_TO_SEGMENTATION>',
    '<OCR>',
  ];
  const truths = [`a${locations(...square)}`, `a${locations(...square)}`, `a cat${locations(...square)}`, '', 'a'];
  const main = asked.map((task, i) => mainMetric(metricsOf(task, truths[i], truths[i])));
  assert.equal(main, ['mAP', 'editSimilarity', 'recallAt1', 'meanIoU', 'editSimilarity']);
  assert.is(mainMetric({ count: 1 }), undefined);
});

test.run();
