import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openFolder } from '../../src/platform/node.ts';
import { applyCalibration, interpolate, readCalibration, writeCalibration } from '../../src/results/calibration.ts';
import type { TaskResult } from '../../src/results/types.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const common = { imageSize: { width: 100, height: 100 }, answer: '', truncated: false };
const box = [1, 2, 3, 4] as [number, number, number, number];
const curve = { raw: [0.2, 0.4, 0.5], calibrated: [0.1, 0.5, 0.9] };

test('a curve is linear between its points and constant outside', () => {
  const cases = [[0, 0.1], [0.2, 0.1], [0.3, 0.3], [0.4, 0.5], [0.45, 0.7], [0.5, 0.9], [1, 0.9]]; // biome-ignore format: one line
  for (const [at, expected] of cases) assert.ok(Math.abs(interpolate(curve, at) - expected) < 1e-12, `at ${at}`);
});

test('confidences of calibrated tasks are replaced, and the raw ones kept', () => {
  const boxes = [{ label: 'cat', box, score: 0.01, confidence: 0.4 }, { label: 'dog', box }]; // biome-ignore format: one line
  const result: TaskResult = { task: '<OD>', boxes, ...common };
  const changed = [{ ...boxes[0], confidence: 0.5, rawConfidence: 0.4 }, boxes[1]];
  assert.equal(applyCalibration(result, { '<OD>': curve }), { ...result, boxes: changed });
  assert.equal(applyCalibration(result, { '<CAPTION>': curve }), result);
  const text: TaskResult = { task: '<CAPTION>', text: 'a cat', confidence: 0.5, ...common };
  assert.equal(applyCalibration(text, { '<CAPTION>': curve }), { ...text, confidence: 0.9, rawConfidence: 0.5 });
  const phrases = [{ phrase: 'a cat', boxes: [{ box, confidence: 0.5 }] }];
  const grounded = applyCalibration({ task: '<CAPTION_TO_PHRASE_GROUNDING>', phrases, ...common }, { '<CAPTION_TO_PHRASE_GROUNDING>': curve }); // biome-ignore format: one line
  assert.equal('phrases' in grounded && grounded.phrases[0].boxes, [{ box, confidence: 0.9, rawConfidence: 0.5 }]);
});

test('a calibration is read as it was written', async () => {
  const folder = temporaryFolder();
  assert.is(await readCalibration(openFolder(folder)), null);
  await writeCalibration(folder, { '<OD>': curve });
  assert.equal(await readCalibration(openFolder(folder)), { '<OD>': curve });
});

test('a damaged file is refused by name and task', async () => {
  const folder = temporaryFolder();
  const wrong: unknown[] = [
    { raw: [0.2] },
    { raw: [], calibrated: [] },
    { raw: [0.2, 0.1], calibrated: [0, 1] },
    { raw: [0.1, 0.2], calibrated: [1, 0] },
    { raw: [0.1, 0.2], calibrated: [0] },
    { raw: [0.1], calibrated: [2] },
    3,
  ];
  for (const damaged of wrong) {
    writeFileSync(join(folder, 'calibration.json'), JSON.stringify({ '<OD>': damaged }));
    const error = await readCalibration(openFolder(folder)).catch(e => e);
    assert.match(String(error), /Florence2Error: .*calibration\.json: <OD> must have lists raw and calibrated/);
  }
});

test.run();
