/**
 * Compares every tensor of the whole reference on webgpu, which takes long on a software GPU. The other backends and
 * generations are in check.test.ts.
 */
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkParity } from '../../src/parity/check.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { reference, referenceJson, wholeReference } from '../reference.ts';
import { temporaryFolder } from '../weights/temporary.ts';

/** Links the reference without its generations. Returns the folder. */
function tensorsAlone(): string {
  const folder = temporaryFolder();
  for (const variant of ['tiny', 'tiny-pad', 'tiny-large']) {
    const { ms_greedy_nocache: _, generation: __, ...manifest } = referenceJson(`model/${variant}/manifest.json`);
    mkdirSync(join(folder, variant));
    writeFileSync(join(folder, variant, 'manifest.json'), JSON.stringify(manifest));
    for (const name of readdirSync(reference(`model/${variant}`))) {
      if (['manifest.json', 'generation.json'].includes(name)) continue;
      symlinkSync(reference(`model/${variant}/${name}`), join(folder, variant, name));
    }
  }
  return folder;
}

const check = wholeReference && testBackend === 'webgpu' ? test : test.skip;
check('every tensor of every variant is equal to PyTorch', async () => {
  const report = await withoutLeaks(() => checkParity(tensorsAlone(), { backend: testBackend }));
  for (const { checkpoints, notCompared } of report.variants) {
    assert.equal(notCompared, []);
    for (const { variant, checkpoint, tensors } of checkpoints) {
      const out = tensors.filter(row => !row.equal).map(row => `${row.name}: ${row.maxAbs} > ${row.tolerance}`);
      assert.equal(out, [], `${variant} ${checkpoint}`);
    }
  }
  assert.equal(report.tensors, { equal: 622, total: 622 });
});

test.run();
