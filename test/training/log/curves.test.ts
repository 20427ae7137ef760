import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TASKS } from '../../../src/text/tasks.ts';
import { drawCurves } from '../../../src/training/log/curves.ts';
import type { StepRecord, ValidationRecord } from '../../../src/training/log/records.ts';

const stepRecord = (step: number, loss: number, learningRate = 1e-4): StepRecord => ({
  ...{ step, epoch: 0, loss, learningRate, gradNorm: 1, samplesPerSecond: 1, secondsLeft: 0, taskLosses: {} },
});

const validationRecord = (step: number, loss: number, tasks: Record<string, Record<string, number>>): ValidationRecord => ({
  ...{ step, epoch: 0, loss, metrics: tasks },
  taskLosses: Object.fromEntries(Object.keys(tasks).map(task => [task, loss])),
}); // biome-ignore format: short

const falling = Array.from({ length: 100 }, (_, i) => stepRecord(i + 1, 4 - i / 50));
const od = { '<OD>': { mAP: 0.5, mAP50: 0.7, count: 3 } };

/** Returns the texts of a class, or those without a class. */
const texts = (svg: string, kind = ''): string[] =>
  Array.from(svg.matchAll(/<text(?: class="(\w+)")?[^>]*>([^<]*)</g))
    .filter(([, found = '']) => found === kind)
    .map(([, , text]) => text);

/** Returns the coordinates of all lines of a colour. */
const linesOf = (svg: string, color: string): number[][][] =>
  Array.from(svg.matchAll(new RegExp(`stroke="${color}"[^>]*stroke-opacity="[^"]*" d="M([^"]*)"`, 'g')), ([, path]) =>
    path.split('L').map(pair => pair.split(' ').map(Number)),
  );

test('only charts with data are drawn', () => {
  const both = { ...od, '<OCR>': { editSimilarity: 0.9 } };
  for (const [validations, titles] of [
    [[], ['Loss', 'Learning rate']],
    [[validationRecord(100, 1, {})], ['Loss', 'Learning rate']],
    [[validationRecord(100, 1, od)], ['Loss', 'Learning rate', 'Validation: mAP']],
    [
      [validationRecord(100, 1, both)],
      ['Loss', 'Learning rate', 'Validation: mAP', 'Validation: edit similarity', 'Validation loss by task'],
    ],
  ] as [ValidationRecord[], string[]][]) {
    assert.equal(texts(drawCurves(falling, validations), 'title'), titles);
  }
});

test('the legend shows each curve with its last value', () => {
  const svg = drawCurves(falling, [validationRecord(50, 3, od), validationRecord(100, 2.5, od)]);
  assert.equal(texts(svg), ['training', 'validation', 'learning rate', 'od']);
  const [training, ...others] = texts(svg, 'value');
  assert.ok(Math.abs(Number(training) - 2.04) < 0.02, training);
  assert.equal(others, ['2.5', '1e-4', '0.5']);
});

test('of more than six tasks a chart has the mean and the five worst', () => {
  const tasks = TASKS.slice(0, 9).map(({ task }, i) => [task, { editSimilarity: (i + 1) / 10 }]);
  const validation = validationRecord(100, 1, Object.fromEntries(tasks));
  validation.taskLosses = Object.fromEntries(TASKS.slice(0, 6).map(({ task }, i) => [task, i + 1]));
  const svg = drawCurves(falling, [validation]);
  assert.equal(texts(svg, 'title').slice(2), ['Validation: edit similarity: mean of 9, and the 5 lowest', 'Validation loss by task']); // biome-ignore format: one line
  const names = texts(svg).slice(3); // after those of the loss and the rate
  const named = TASKS.map(({ name }) => name);
  assert.equal(names, ['mean', ...named.slice(0, 5), ...named.slice(0, 6)]);
  assert.equal(texts(svg, 'value').slice(3, 9), ['0.5', '0.1', '0.2', '0.3', '0.4', '0.5']);
});

test('losses are drawn at the right coordinates', () => {
  const svg = drawCurves([0, 1, 2, 4].map((loss, i) => stepRecord(i + 1, loss)), []); // biome-ignore format: one line
  const [raw] = linesOf(svg, '#4e79a7');
  assert.is(raw.length, 4);
  const [xs, ys] = [raw.map(([x]) => x), raw.map(([, y]) => y)];
  assert.ok(Math.abs(xs[3] - xs[2] - (xs[1] - xs[0])) < 0.2, 'steps at even distances');
  const height = ys[0] - ys[1]; // of a loss of 1
  assert.ok(height > 20);
  assert.ok(Math.abs(ys[0] - ys[2] - 2 * height) < 0.2 && Math.abs(ys[0] - ys[3] - 4 * height) < 0.2, `${ys}`);
});

test('losses of several orders of magnitude use a logarithmic axis', () => {
  const svg = drawCurves([10, 1, 0.1, 0.01].map((loss, i) => stepRecord(i + 1, loss)), []); // biome-ignore format: one line
  const [raw] = linesOf(svg, '#4e79a7');
  const steps = [1, 2, 3].map(i => raw[i][1] - raw[i - 1][1]);
  for (const step of steps) assert.ok(Math.abs(step - steps[0]) < 0.2, `${steps}`);
});

test('an outlier does not flatten the curve', () => {
  const records = [...falling, ...falling].map((record, i) => ({ ...record, step: i + 1 }));
  records[120] = { ...records[120], loss: 1e6 };
  const [raw] = linesOf(drawCurves(records, []), '#4e79a7');
  const ys = raw.map(([, y]) => y);
  assert.ok(ys[99] - ys[0] > 40, `the fall of ${ys[99] - ys[0]} pixels`);
});

test('a line has at most 1400 points', () => {
  const records = Array.from({ length: 30_000 }, (_, i) => stepRecord(i + 1, Math.sin(i) + 2));
  const svg = drawCurves(records, []);
  assert.ok(svg.length < 100_000, `${svg.length} characters`);
  assert.is(linesOf(svg, '#4e79a7')[0].length, 1400);
});

test('the SVG is always well formed', async () => {
  const all = Object.fromEntries(TASKS.map(({ task }) => [task, { editSimilarity: 0.5 }]));
  const cases: [string, StepRecord[], ValidationRecord[]][] = [
    ['nothing', [], []],
    ['one step', [stepRecord(1, 2)], []],
    ['a step with loss and rate 0', [stepRecord(1, 0, 0)], []],
    ['NaN values', [stepRecord(1, Number.NaN, Number.NaN)], [validationRecord(1, Number.NaN, { a: {} })]],
    ['only a validation', [], [validationRecord(7, 2, od)]],
    ['all tasks', falling, [validationRecord(50, 1, all), validationRecord(100, 0.5, all)]],
    ['a name that must be escaped', falling, [validationRecord(100, 1, { '<A&"B">': { editSimilarity: 1 } })]],
  ];
  for (const [what, steps, validations] of cases) {
    const svg = drawCurves(steps, validations);
    assert.not.match(svg, /NaN|Infinity|undefined|null/, what);
    const { width, height } = await sharp(Buffer.from(svg)).metadata();
    assert.is(width, 1080, what);
    assert.ok(height! >= 500, `${what}: ${height} pixels high`);
    await sharp(Buffer.from(svg)).png().toBuffer();
  }
});

test.run();
