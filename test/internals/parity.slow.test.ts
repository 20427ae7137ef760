/** Every variant of the whole reference on webgpu, where a software GPU takes long. parity.test.ts has the other backends. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkParity } from '../../src/internals/parity.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { reference, wholeReference } from '../reference.ts';

const check = wholeReference && testBackend === 'webgpu' ? test : test.skip;
check('every variant is equal to PyTorch', async () => {
  const report = await withoutLeaks(() => checkParity(reference('model'), { backend: testBackend }));
  for (const { checkpoints, notCompared } of report.variants) {
    assert.equal(notCompared, []);
    for (const { variant, checkpoint, tensors, sequences } of checkpoints) {
      const out = tensors.filter(row => !row.equal).map(row => `${row.name}: ${row.maxAbs} > ${row.tolerance}`);
      const wrong = sequences.filter(row => !row.equal).map(row => `${row.case} ${row.index}: ${row.got}`);
      assert.equal([...out, ...wrong], [], `${variant} ${checkpoint}`);
    }
  }
  assert.equal(report.tensors, { equal: 622, total: 622 });
  assert.equal(report.sequences, { equal: 236, total: 236 });
});

test.run();
