/** Compares merged adapters with PyTorch, in addition to test/parity/training.test.ts. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference } from '../../src/activations/activation.ts';
import { Adapters } from '../../src/adapters/adapters.ts';
import '../backend.ts';
import { openSubject } from '../internals/subject.ts';
import { hasReference, reference } from '../reference.ts';
import { logitsOf, readTensors } from '../training/tensors.ts';

// The part of the reference in this repository has no adapters.
const check = hasReference('model/tiny/lora') ? test : test.skip;

check('an adapter merged permanently into a tied head gives it a separate weight', async () => {
  const subject = await openSubject('tiny');
  const { model, inputs } = subject;
  const expected = await readTensors(reference('model/tiny/lora/recipe/expected.safetensors'));
  const adapters = new Adapters(model);
  await adapters.load(reference('model/tiny/lora/recipe/hf'));
  assert.not.ok(model.lmHead.weight.loaded);
  adapters.mergeAndUnload();
  assert.ok(model.lmHead.weight.loaded);
  assert.equal(adapters.names, []);
  const { maxAbs } = difference(await logitsOf(subject), expected.get('logits_merged')!);
  assert.ok(maxAbs <= 1e-4, `the logits differ by ${maxAbs}; the embeddings must not change`);
  model.dispose();
  await inputs.close();
});

test.run();
