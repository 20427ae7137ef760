/** Measures the shipped checkpoint on scenes that its card did not use, and compares with the card. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2 } from '../../src/index.ts';
import { evaluate, FIGURES, type FigureName } from '../../tools/demo/evaluate.ts';
import { withoutLeaks } from '../leaks.ts';

const demo = fileURLToPath(new URL('../../weights/demo', import.meta.url));
const card = readFileSync(join(demo, 'README.md'), 'utf8').replaceAll('`', '');
const model = await Florence2.load(demo, { backend: 'wasm' });
const { figures } = await withoutLeaks(() => evaluate(model, { seed: 21, scenes: 100 }));
model.dispose();

/** Two standard deviations of a share measured on 100 scenes, of which a third have a word. */
const chance = 0.17;

for (const [name, { says }] of Object.entries(FIGURES)) {
  test(`${says} agrees with the card`, () => {
    const line = card.split('\n').find(line => line.startsWith(`| ${says} |`));
    const [, told] = /\*\*([\d.]+)\*\*/.exec(line ?? '') ?? [];
    assert.ok(told, `the card has no row: ${says}`);
    const value = figures[name as FigureName];
    assert.ok(Math.abs(value - Number(told)) < chance, `${value}, the card says ${told}`);
  });
}

test.run();
