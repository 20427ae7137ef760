/** Measures the shipped checkpoint on scenes that its card did not use, and compares with the card. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2 } from '../../src/index.ts';
import { evaluate, FIGURES, type FigureName } from '../../tools/demo/evaluate.ts';
import type { Suite } from '../../tools/demo/layout.ts';
import { withoutLeaks } from '../leaks.ts';

const demo = fileURLToPath(new URL('../../weights/demo', import.meta.url));
const card = readFileSync(join(demo, 'README.md'), 'utf8').replaceAll('`', '');
const model = await Florence2.load(demo, { backend: 'wasm' });
const measured = await withoutLeaks(async () => ({
  plain: await evaluate(model, { suite: 'plain', seed: 21, scenes: 80 }),
  wide: await evaluate(model, { suite: 'wide', seed: 21, scenes: 40 }),
}));
model.dispose();

/**
 * About three standard deviations of a share: of 0.95 on the 27 words of plain scenes, and of 0.5 on the 13 words of wide
 * ones, of which there are fewest.
 */
const chance = { plain: 0.13, wide: 0.4 };

for (const [name, { says, floor }] of Object.entries(FIGURES)) {
  test(`${says} agrees with the card`, () => {
    const row = card.split('\n').find(line => line.startsWith(`| ${says} |`));
    assert.ok(row, `the card has no row: ${says}`);
    const [plain, , , wide] = row
      .split('|')
      .slice(2)
      .map(cell => Number(cell.replaceAll('*', '')));
    for (const [suite, told] of Object.entries({ plain, wide })) {
      const value = measured[suite as Suite].figures[name as FigureName];
      if (Number.isNaN(value)) assert.is(name, 'absent');
      else assert.ok(Math.abs(value - told) < chance[suite as Suite], `${suite}: ${value}, the card says ${told}`);
    }
    assert.ok((name === 'absent' ? wide : plain) >= floor, `${plain}, ${wide}`);
    if (name !== 'absent') assert.ok(wide >= 0.85 * plain, `${wide} on wide scenes, ${plain} on plain ones`);
  });
}

test.run();
