/** The checkpoint that ships with the package does what its card says, also on scenes that the card has not used. */
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

/** By how much chance may move a share on so few scenes, of which a third have a word: two standard deviations. */
const chance = 0.17;

for (const [name, { says }] of Object.entries(FIGURES)) {
  test(`${says} is what the card says`, () => {
    const line = card.split('\n').find(line => line.startsWith(`| ${says} |`));
    const [, told] = /\*\*([\d.]+)\*\*/.exec(line ?? '') ?? [];
    assert.ok(told, `the card does not say: ${says}`);
    const value = figures[name as FigureName];
    assert.ok(Math.abs(value - Number(told)) < chance, `${value}, the card says ${told}`);
  });
}

test.run();
