import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Hooks } from '../../src/internals/hooks.ts';
import { download } from '../../src/internals/parity/capture.ts';
import { difference } from '../../src/internals/parity/compare.ts';
import { readIds, readPixels } from '../../src/internals/parity/subject.ts';
import { Adapters } from '../../src/training/adapters.ts';
import { lossAndGradients } from '../../src/training/gradients.ts';
import { answerLosses, IGNORED } from '../../src/training/loss.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { openSubject } from '../internals/subject.ts';
import { hasReference, reference } from '../reference.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { logitsOf, readTensors } from './tensors.ts';

/** Of logits of given adapters, on or merged; two fp32 implementations may be this far apart (see the reference). */
const LOGITS = 1e-4;
/** Of gradients, largest difference by the tensor's rms. */
const GRADIENTS = 5e-4;

const close = (got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number, what: string) => {
  assert.is(got.length, want.length, what);
  const { maxAbs } = difference(got, want);
  assert.ok(maxAbs <= tolerance, `${what}: differs by ${maxAbs}, at most ${tolerance} is allowed`);
};

// The part of the reference that is kept in this repository has no adapters.
const present = hasReference('model/tiny/lora');
const check = present ? test : test.skip;
const names = ['basic', 'recipe', 'vision', 'rslora'];
const subject = present ? await openSubject('tiny') : undefined!;
const adapterFolder = (name: string, layout: string): string => reference(`model/tiny/lora/${name}/${layout}`);
const expectedOf = (name: string) => readTensors(reference(`model/tiny/lora/${name}/expected.safetensors`));

for (const name of names) {
  for (const layout of ['hf', 'microsoft']) {
    check(`${name}, ${layout}: the logits with the adapter, and merged`, async () => {
      const expected = await expectedOf(name);
      await withoutLeaks(async () => {
        const adapters = new Adapters(subject.model);
        await adapters.load(adapterFolder(name, layout));
        close(await logitsOf(subject), expected.get('logits_adapter')!, LOGITS, 'with the adapter');
        adapters.merge();
        close(await logitsOf(subject), expected.get('logits_merged')!, LOGITS, 'merged');
        adapters.dispose();
      });
    });
  }
}

check('without an adapter the logits are those of the checkpoint', async () => {
  close(await logitsOf(subject), (await expectedOf('basic')).get('logits_base')!, LOGITS, 'logits');
});

check('an adapter merged into a tied head gives it a weight of its own; the embeddings stay as they are', async () => {
  const other = await openSubject('tiny');
  const { lmHead, languageModel } = other.model;
  const expected = await expectedOf('recipe');
  const adapters = new Adapters(other.model);
  await adapters.load(adapterFolder('recipe', 'hf'));
  assert.not.ok(lmHead.weight.loaded);
  adapters.mergeAndUnload();
  assert.ok(lmHead.weight.loaded);
  assert.equal(adapters.names, []);
  close(await logitsOf(other), expected.get('logits_merged')!, LOGITS, 'merged for good');
  // PEFT, told to merge while the head is tied, changes the embeddings as well.
  languageModel.shared.weight.replace(lmHead.weight.value.clone());
  close(await logitsOf(other), expected.get('logits_merged_peft_tied')!, LOGITS, 'merged into the embeddings');
  other.model.dispose();
  await other.inputs.close();
});

// Nothing of wasm has gradients for the vision tower's convolutions, through which all of these go.
for (const name of testBackend === 'wasm' ? [] : names) {
  check(`${name}: the gradients at the start of a training`, async () => {
    const { model, inputs, hooks } = subject;
    const expected = await expectedOf(name);
    const folder = temporaryFolder();
    copyFileSync(join(adapterFolder(name, 'hf'), 'adapter_config.json'), join(folder, 'adapter_config.json'));
    copyFileSync(reference(`model/tiny/lora/${name}/init.safetensors`), join(folder, 'adapter_model.safetensors'));
    const adapters = new Adapters(model);
    const { parameters } = await adapters.load(folder);
    const pixels = await readPixels(inputs);
    const [promptIds, promptMask, decoderIds, labels] = await Promise.all(
      ['text_input_ids', 'text_attention_mask', 'decoder_input_ids', 'labels'].map(name => readIds(inputs, name)),
    );
    const counted = tf.notEqual(labels, IGNORED);
    const weights = tf.cast(counted, 'float32') as tf.Tensor2D;
    const ids = tf.mul(labels, tf.cast(counted, 'int32')) as tf.Tensor2D;
    const tokens = (await download(tf.sum(weights))).values[0];
    const pass = (h: Hooks): tf.Tensor1D => {
      const memory = model.encodePrompt(model.encodeImage(pixels, h), promptIds, promptMask, h);
      return answerLosses(model.logits(decoderIds, memory, h), ids, weights, 0);
    };
    const { gradients, losses } = lossAndGradients(pass, parameters, 1 / tokens, hooks, false);
    losses.dispose();
    for (const parameter of parameters) {
      const want = expected.get(`grad.base_model.model.${parameter.name.replace(/^(?!lm_head)/, 'model.')}`)!;
      const got = (await download(parameter.inCheckpointOrder(gradients.get(parameter)!))).values;
      const rms = Math.sqrt(want.reduce((sum, x) => sum + x * x, 0) / want.length);
      close(got, want, GRADIENTS * rms, parameter.name);
    }
    tf.dispose([...gradients.values(), pixels, promptIds, promptMask, decoderIds, labels, counted, weights, ids]);
    adapters.dispose();
  });
}

test.after(async () => {
  subject?.model.dispose();
  await subject?.inputs.close();
});
test.run();
