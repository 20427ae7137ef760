/** Compares the network run as TensorFlow graphs with PyTorch and with its execution operation by operation. */

import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { test as anyTest } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { Florence2 } from '../../src/florence2.ts';
import { CachedSession } from '../../src/generation/session.ts';
import { Capture } from '../../src/hooks/capture.ts';
import { HookRegistry, noHooks } from '../../src/hooks/hooks.ts';
import type { Executor } from '../../src/model/executor.ts';
import { fastestExecutor } from '../../src/model/fastest_executor.ts';
import { GraphExecutor } from '../../src/model/graph_executor.ts';
import { type Adaptation, Parameter, unadapted } from '../../src/nn/params.ts';
import { encodeImages, readIds } from '../../src/parity/subject.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { encodeInputs, openSubject } from '../internals/subject.ts';
import { reference } from '../reference.ts';

const test = testBackend === 'tensorflow' ? anyTest : anyTest.skip;
const PYTORCH = 1e-4; // the reference's tolerance for these tensors
const SAME = 2e-5; // two fp32 computations of the same values

const subject = await openSubject('tiny-pad');
const { model, inputs } = subject;
const graphs = testBackend === 'tensorflow' ? new GraphExecutor(model) : null;

async function withExecutor<T>(executor: Executor, body: () => Promise<T>): Promise<T> {
  const before = model.executor;
  model.executor = executor;
  try {
    return await body();
  } finally {
    model.executor = before;
  }
}

const eagerly = <T>(body: () => Promise<T>) => withExecutor(model, body);
const asGraphs = <T>(body: () => Promise<T>) => withExecutor(graphs!, body);

/** Decodes given answers in a session of `beams` rows per prompt, which move. Returns the logits of each step. */
async function stepLogits(beams: number, steps: number, hooks = new HookRegistry()): Promise<Float32Array[]> {
  const ids = await readIds(inputs, 'decoder_input_ids');
  const tokens = (await ids.array()) as number[][]; // [B, T]
  ids.dispose();
  const memory = await encodeInputs(subject, true);
  const session = new CachedSession(model, memory, beams, hooks);
  tf.dispose([memory.states, memory.mask ?? []]);
  const logits: Float32Array[] = [];
  try {
    for (let t = 0; t < steps; t++) {
      const rows = Array.from({ length: session.rows }, (_, row) => tokens[Math.floor(row / beams)][t] + (row % beams));
      const made = session.step(Int32Array.from(rows));
      logits.push((await made.data()) as Float32Array);
      made.dispose();
      if (t === 2) session.reorder(Int32Array.from(rows, (_, row) => beams * Math.floor(row / beams))); // all rows of an item continue its first
      if (t === 4) session.reorder(Int32Array.from({ length: beams }, (_, row) => beams + row)); // drops the first prompt
      if (t === 4) tokens.splice(0, 1);
    }
    return logits;
  } finally {
    session.dispose();
  }
}

const worst = (a: Float32Array[], b: Float32Array[]): number =>
  Math.max(...a.map((values, i) => difference(values, b[i]).maxAbs));

test("image features equal PyTorch's", async () => {
  const file = await openSafetensors(reference('model/tiny-pad/vision.safetensors'));
  const want = await file.readFloat32('projector.image_features');
  await file.close();
  await asGraphs(async () => {
    const { values } = await download(await encodeImages(subject));
    assert.ok(difference(values, want).maxAbs <= PYTORCH);
  });
});

test('a graph runs batches of any size and prompts of any length', async () => {
  const images = (count: number) => tf.randomNormal([count, 64, 96, 3], 0, 1, 'float32', 5) as tf.Tensor4D;
  const prompts = (length: number) => tf.randomNormal([2, length, model.config.text.dModel], 0, 1, 'float32', 6);
  for (const count of [1, 3, 2]) {
    const pixels = images(count);
    const run = async () => (await download(model.executor.visionMap(pixels, noHooks))).values;
    assert.ok(difference(await asGraphs(run), await eagerly(run)).maxAbs <= SAME, `${count} images`);
    pixels.dispose();
  }
  for (const length of [1, 9, 40]) {
    const embeds = prompts(length) as tf.Tensor3D;
    const run = async () => (await download(model.executor.encode(embeds, null, noHooks))).values;
    assert.ok(difference(await asGraphs(run), await eagerly(run)).maxAbs <= SAME, `${length} positions`);
    embeds.dispose();
  }
});

test('a batch of large images has the same maps, and runs as one batch under a gradient', async () => {
  const pixels = tf.randomNormal([2, 768, 448, 3], 0, 1, 'float32', 8) as tf.Tensor4D;
  const { visionTower } = model;
  const run = async () => (await download(model.executor.visionMap(pixels, noHooks))).values;
  assert.ok(difference(await asGraphs(run), await eagerly(run)).maxAbs <= SAME);
  const { forward } = visionTower;
  const batches: number[] = [];
  visionTower.forward = (pixels, h) => {
    batches.push(pixels.shape[0]);
    return forward.call(visionTower, pixels, h);
  };
  try {
    const grad = tf.grad(x => tf.sum(model.executor.visionMap(x as tf.Tensor4D, noHooks)));
    await asGraphs(async () => tf.dispose(grad(pixels)));
  } finally {
    visionTower.forward = forward;
  }
  assert.equal(batches, [2]);
  pixels.dispose();
});

for (const beams of [1, 3]) {
  test(`decodes ${beams} beams of padded prompts with the same logits as operation by operation`, async () => {
    const [made, want] = [await asGraphs(() => stepLogits(beams, 7)), await eagerly(() => stepLogits(beams, 7))];
    assert.ok(worst(made, want) <= 8e-5, `differ by ${worst(made, want)}`);
  });
}

test('a long answer, with a sealed cache and hooks at one step, has the same logits as operation by operation', async () => {
  const { model } = await Florence2.load(fileURLToPath(new URL('../../weights/demo', import.meta.url)), {
    backend: testBackend,
  });
  const states = tf.randomNormal([2, 9, model.config.text.dModel], 0, 1, 'float32', 7) as tf.Tensor3D;
  const logits = async (executor: Executor) => {
    const caches = executor.newCaches(states, noHooks);
    const swapped = tf.tensor1d([1, 0], 'int32');
    const hooks = new HookRegistry();
    hooks.add('**.hook_pattern', () => {}, { step: step => step === 100, readOnly: true });
    const made: Float32Array[] = [];
    for (let step = 0; step < 140; step++) {
      const tokens = tf.tensor2d([5 + (step % 90), 7 + ((3 * step) % 90)], [2, 1], 'int32');
      const h = hooks.root(step);
      const out = executor.decodeStep(tokens, { states, mask: null }, caches, h);
      if ([63, 64, 65, 99, 100, 101, 139].includes(step)) made.push((await out.data()) as Float32Array);
      if (step === 80) for (const cache of caches) cache.reorder(swapped);
      tf.dispose([tokens, out]);
    }
    assert.is(caches[0].length, 140);
    for (const cache of caches) cache.dispose();
    swapped.dispose();
    return made;
  };
  assert.ok(model.executor instanceof GraphExecutor);
  const [made, want] = [await logits(model.executor), await logits(model)];
  assert.ok(worst(made, want) <= 8e-5, `differ by ${worst(made, want)}`);
  states.dispose();
  model.dispose();
});

test('hooks receive every point, and replaced activations are used', async () => {
  const pixels = tf.ones([1, 64, 64, 3]) as tf.Tensor4D;
  await asGraphs(async () => {
    const hooks = new HookRegistry();
    const seen: string[] = [];
    hooks.add('vision_tower.**.hook_resid_post', (_, { name }) => void seen.push(name));
    const plain = await download(model.executor.visionMap(pixels, hooks.root()));
    assert.ok(seen.length >= 8);
    hooks.add('vision_tower.blocks.0.0.spatial_block.hook_resid_post', x => tf.zerosLike(x));
    const replaced = await download(model.executor.visionMap(pixels, hooks.root()));
    assert.ok(difference(plain.values, replaced.values).maxAbs > 1e-3);
  });
  pixels.dispose();
});

/** Returns all activations of a pass of the vision tower and of a few steps, by point and step. */
async function everything(beams: number): Promise<Map<string, Float32Array>> {
  const kept = new Map<string, tf.Tensor>();
  const sink = {
    put: (name: string, step: number | undefined, x: tf.Tensor) => void kept.set(`${name} ${step}`, tf.keep(x)),
  };
  const hooks = new HookRegistry().with([new Capture('**', sink).hook]);
  const pixels = tf.randomNormal([2, 64, 96, 3], 0, 1, 'float32', 9) as tf.Tensor4D;
  model.executor.visionMap(pixels, hooks.root()).dispose();
  pixels.dispose();
  await stepLogits(beams, 3, hooks);
  const values = new Map<string, Float32Array>();
  for (const [key, tensor] of kept) values.set(key, (await download(tensor)).values);
  return values;
}

for (const beams of [1, 2]) {
  test(`read-only hooks receive the same activations in the same order, with ${beams} beams`, () =>
    withoutLeaks(async () => {
      const [made, want] = [await asGraphs(() => everything(beams)), await eagerly(() => everything(beams))];
      assert.equal([...made.keys()], [...want.keys()]);
      assert.ok(want.size > 100, `${want.size}`);
      for (const [key, values] of made) {
        const { maxAbs } = difference(values, want.get(key)!);
        assert.ok(maxAbs <= PYTORCH, `${key}: ${maxAbs}`);
      }
    }));
}

test('at most 32 graphs are kept', async () => {
  const { binding } = tf.backend() as unknown as { binding: { getNumOfSavedModels(): number } };
  const before = binding.getNumOfSavedModels();
  const own = new GraphExecutor(model);
  const names = await asGraphs(async () => [...(await everything(1)).keys()].map(key => key.split(' ')[0]));
  const points = [...new Set(names)].filter(name => name.startsWith('vision_tower')).slice(0, 34);
  assert.ok(points.length > 33, `${points.length}`);
  const pixels = tf.ones([1, 64, 64, 3]) as tf.Tensor4D;
  for (const point of points) {
    const hooks = new HookRegistry();
    hooks.add(point, () => {}, { readOnly: true });
    own.visionMap(pixels, hooks.root()).dispose();
  }
  assert.is(binding.getNumOfSavedModels() - before, 32);
  own.dispose();
  assert.is(binding.getNumOfSavedModels(), before);
  pixels.dispose();
});

test('gradients equal those of the model operation by operation', async () => {
  const pixels = tf.randomNormal([1, 64, 64, 3], 0, 1, 'float32', 7) as tf.Tensor4D;
  const gradient = async () => {
    const grad = tf.grad(x => tf.sum(model.executor.visionMap(x as tf.Tensor4D, noHooks)));
    return (await download(tf.tidy(() => grad(pixels)))).values;
  };
  assert.equal(await asGraphs(gradient), await eagerly(gradient));
  pixels.dispose();
});

test('replaced parameters are used', async () => {
  const pixels = tf.randomNormal([1, 64, 64, 3], 0, 1, 'float32', 8) as tf.Tensor4D;
  const parameter = model.parameters.get('vision_tower.convs.0.conv.weight')!;
  const run = async () => (await download(model.executor.visionMap(pixels, noHooks))).values;
  const before = await asGraphs(run);
  const original = tf.clone(parameter.value);
  parameter.replace(tf.tidy(() => tf.mul(parameter.value, 2)));
  const after = await asGraphs(run);
  assert.ok(difference(after, before).maxAbs > 1e-3);
  assert.ok(difference(after, await eagerly(run)).maxAbs <= SAME);
  parameter.replace(original);
  assert.ok(difference(await asGraphs(run), before).maxAbs <= SAME);
  pixels.dispose();
});

test('calls with and without an adapter that replaces parameters keep their graphs', async () => {
  const { binding } = tf.backend() as unknown as { binding: { getNumOfSavedModels(): number } };
  const before = binding.getNumOfSavedModels();
  const own = new GraphExecutor(model);
  const pixels = tf.randomNormal([1, 64, 64, 3], 0, 1, 'float32', 8) as tf.Tensor4D;
  const { name, shape, layout, value } = model.parameters.get('vision_tower.convs.0.conv.weight')!;
  const doubled = new Parameter(name, shape, layout);
  doubled.replace(tf.mul(value, 2));
  const adapted = { ...unadapted, parameters: new Map([[name, doubled]]) };
  const run = async (adaptation: Adaptation) =>
    (await download(model.compute(() => own.visionMap(pixels, noHooks), adaptation))).values;
  const first = [await run(unadapted), await run(adapted)];
  assert.ok(difference(first[0], first[1]).maxAbs > 1e-3);
  assert.is(binding.getNumOfSavedModels() - before, 2);
  assert.equal([await run(unadapted), await run(adapted)], first);
  assert.is(binding.getNumOfSavedModels() - before, 2);
  own.dispose();
  doubled.dispose();
  pixels.dispose();
});

const elsewhere = testBackend === 'tensorflow' ? anyTest.skip : anyTest;
elsewhere('bf16 is an error on other backends', async () => {
  const refused = await fastestExecutor(model, 'bf16').catch(error => error);
  assert.match(refused.message, /bf16 needs the tensorflow backend/);
});

test('bf16 returns nearly the same features', async () => {
  const own = new GraphExecutor(model, 'bf16');
  const rounded = (await withExecutor(own, async () => download(await encodeImages(subject)))).values;
  const exact = (await asGraphs(async () => download(await encodeImages(subject)))).values;
  const size = Math.sqrt(exact.reduce((sum, x) => sum + x * x, 0) / exact.length);
  const { maxAbs } = difference(rounded, exact);
  assert.ok(maxAbs > 1e-4 * size && maxAbs < 0.1 * size, `${maxAbs} of ${size}`);
  own.dispose();
});

test('runs leak no tensors, and dispose frees the graphs', async () => {
  const { binding } = tf.backend() as unknown as {
    binding: { getNumOfSavedModels(): number; getNumOfTensors(): number };
  };
  await asGraphs(() => stepLogits(3, 5)); // compiled
  await withoutLeaks(() => asGraphs(() => stepLogits(3, 5)));
  const others = binding.getNumOfSavedModels();
  const own = new GraphExecutor(model);
  const tensors = binding.getNumOfTensors();
  await withoutLeaks(() => withExecutor(own, () => stepLogits(1, 5)));
  assert.ok(binding.getNumOfSavedModels() > others);
  own.dispose();
  assert.is(binding.getNumOfSavedModels(), others);
  assert.is(binding.getNumOfTensors(), tensors);
});

anyTest.after(async () => {
  graphs?.dispose();
  model.dispose();
  await inputs.close();
});
anyTest.run();
