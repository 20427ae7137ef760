import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  normalizeTextVqa,
  normalizeVqa,
  textVqaAccuracy,
  type VqaAnswer,
  vqaAccuracy,
} from '../../src/evaluation/vqa.ts';
import { hasReference, referenceJson } from '../reference.ts';

const path = 'evaluation/vqa.json';
const near = (found: number, expected: number, what: string) =>
  assert.ok(Math.abs(found - expected) <= 1e-12, `${what}: ${found}, not ${expected}`);

if (hasReference(path)) {
  const { normalize, vqav2, textvqa } = referenceJson(path);

  test('texts are normalised as by the two evaluation codes', () => {
    assert.ok(normalize.length > 0);
    for (const { text, vqav2, textvqa } of normalize) {
      assert.is(normalizeVqa(text), vqav2, `VQAv2: ${JSON.stringify(text)}`);
      assert.is(normalizeTextVqa(text), textvqa, `TextVQA: ${JSON.stringify(text)}`);
    }
  });

  test('accuracies equal those of the two evaluation codes', () => {
    type Row = VqaAnswer & { accuracy_official: number; accuracy_lmms_eval: number; accuracy: number };
    for (const row of vqav2.questions as Row[]) near(vqaAccuracy(row), row.accuracy_official, JSON.stringify(row));
    for (const row of vqav2.questions as Row[])
      near(vqaAccuracy(row, true), row.accuracy_lmms_eval, JSON.stringify(row));
    for (const row of textvqa.questions as Row[]) near(textVqaAccuracy(row), row.accuracy, JSON.stringify(row));
  });
} else console.log(`Skipped the answers of VQA: ${path} does not exist.`);

test('by hand: a fourth person of ten is the one who decides between 0.9 and 1', () => {
  const others = (count: number) => Array.from({ length: count }, (_, i) => `other ${i}`);
  near(vqaAccuracy({ prediction: 'The dog.', answers: ['dog', 'a dog', 'dog', ...others(7)] }), 0.9, 'three of ten');
  near(vqaAccuracy({ prediction: 'dog', answers: ['dog', 'dog', 'dog', 'dog', ...others(6)] }), 1, 'four of ten');
});

test.run();
