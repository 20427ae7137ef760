/** Activation caches: in memory, in files, and compared with PyTorch's dumps. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference } from '../../src/activations/activation.ts';
import { ActivationCache } from '../../src/activations/cache.ts';
import { dumpForm, dumpPoint } from '../../src/activations/dump_names.ts';
import { Florence2Error, UsageError } from '../../src/errors.ts';
import { Capture } from '../../src/hooks/capture.ts';
import { HookRegistry } from '../../src/hooks/hooks.ts';
import { decodeImage } from '../../src/image/decode.ts';
import { captureForced } from '../../src/internals/forced_pass.ts';
import { hookPoints } from '../../src/internals/hook_points.ts';
import { Question } from '../../src/internals/question.ts';
import { encodeImages, encodePrompts, forcedLogits as forcedInputs } from '../../src/parity/subject.ts';
import { tensorTolerance } from '../../src/parity/tolerance.ts';
import type { CacheOptions } from '../../src/requests.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { withoutLeaks } from '../backend.ts';
import { openSubject } from '../internals/subject.ts';
import { openTiny, street } from '../internals/tiny_model.ts';
import { reference } from '../reference.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const model = await openTiny();
const free = { maxNewTokens: 6, forcedBosTokenId: null, forcedEosTokenId: null, noRepeatNgramSize: 0 };
const greedy = { ...free, numBeams: 1 };
const decoder = 'language_model.decoder.layers';
const cross = `${decoder}.*.encoder_attn.hook_pattern`;
const folder = temporaryFolder();
const S = 10 + model.tokenizer.encode('What does the image describe?').length;
const V = model.config.text.vocabSize;

const run = (options: CacheOptions, hooked = model) => hooked.runWithCache(street, '<CAPTION>', options);
const values = async (cache: ActivationCache, name: string, part = {}) => (await cache.array(name, part)).values;

test('a run keeps the requested points by name and step, and no others', async () => {
  const before = tf.memory().numTensors;
  const plain = await model.run(street, '<CAPTION>', greedy);
  const names = [cross, 'hook_logits', '**.encoder.layers.1.hook_resid_post', /convs\.3/];
  const { result, cache } = await run({ ...greedy, names });
  assert.equal({ ...result, confidence: 0 }, { ...plain, confidence: 0 });
  const [got, alone] = [result, plain].map(answer => ('confidence' in answer ? answer.confidence! : Number.NaN));
  assert.ok(Math.abs(got / alone - 1) < 1e-5, `confidence ${got}, alone ${alone}`);
  assert.equal(cache.names, [
    'vision_tower.convs.3.hook_embed',
    'language_model.encoder.layers.1.hook_resid_post',
    `${decoder}.0.encoder_attn.hook_pattern`,
    `${decoder}.1.encoder_attn.hook_pattern`,
    'hook_logits',
  ]);
  for (const name of cache.names)
    assert.equal(cache.steps(name), /decoder|logits/.test(name) ? [0, 1, 2, 3, 4, 5] : []);
  for (const [name, part, shape] of [
    ['vision_tower.convs.3.hook_embed', {}, [1, 3, 3, 112]],
    ['language_model.encoder.layers.{layer}.hook_resid_post', { layer: 1 }, [1, S, 80]],
    [`${decoder}.{layer}.encoder_attn.hook_pattern`, { layer: 0, step: 2 }, [1, 4, 1, S]],
    [`${decoder}.{layer}.encoder_attn.hook_pattern`, { layer: 0, step: -1, head: 3 }, [1, 1, S]],
    ['hook_logits', { step: 5 }, [1, 1, V]],
  ] as [string, object, number[]][]) {
    assert.equal(cache.shape(name, part), shape);
    assert.equal(cache.get(name, part).shape, shape);
    assert.equal((await cache.array(name, part)).shape, shape);
  }
  assert.is(tf.memory().numTensors, before + 2 + 3 * 6 + 1, 'the tensors of the cache, and one head');
  assert.is(cache.get('hook_logits', { step: -1 }), cache.get('hook_logits', { step: 5 }));
  cache.dispose();
  assert.is(tf.memory().numTensors, before);
  assert.equal(cache.names, []);
});

for (const [steps, kept] of [
  [2, [2]],
  [
    [0, 5, 9],
    [0, 5],
  ],
  [(step: number) => step > 2, [3, 4, 5]],
] as [CacheOptions['steps'], number[]][]) {
  test(`steps ${steps} are kept, and activations outside generation`, async () => {
    await withoutLeaks(async () => {
      const { cache } = await run({ ...greedy, names: ['hook_logits', '**.hook_pooled'], steps });
      assert.equal(cache.steps('hook_logits'), kept);
      assert.equal(cache.names, ['multi_modal_projector.hook_pooled', 'hook_logits']);
      assert.ok(cache.has('hook_logits', kept[0]) && !cache.has('hook_logits', 1) && !cache.has('nothing'));
      cache.dispose();
    });
  });
}

for (const useCache of [true, false]) {
  test(`step t of a generation ${useCache ? 'with' : 'without'} a cache is position t under teacher forcing`, async () => {
    await withoutLeaks(async () => {
      const question = await Question.ask(model, street, '<CAPTION>', free);
      const names = [`${decoder}.*.hook_*`, '**.encoder_attn.hook_z', 'hook_logits'];
      const forced = captureForced(model, question, names);
      const { cache } = await run({ ...greedy, useCache, names });
      assert.equal(cache.names, forced.names);
      for (const name of cache.names) {
        assert.equal(cache.steps(name), [0, 1, 2, 3, 4, 5]);
        const axis = name.endsWith('hook_z') ? 2 : 1; // [1, heads, T, d] or [1, T, D]
        const all = forced.get(name);
        for (const step of cache.steps(name)) {
          const [one, position] = tf.tidy(() => {
            const own = cache.get(name, { step });
            const at = (x: tf.Tensor, t: number) => tf.squeeze(tf.gather(x, [t], axis));
            return [at(own, own.shape[axis]! - 1), at(all, step)];
          });
          const { relative } = difference(await one.data(), await position.data());
          assert.ok(relative < 2e-5, `${name}, step ${step}: ${relative}`);
          tf.dispose([one, position]);
        }
      }
      for (const owner of [cache, forced, question]) owner.dispose();
    });
  });
}

test('with beam search each step has one row per beam', async () => {
  await withoutLeaks(async () => {
    const { cache } = await run({ ...free, numBeams: 3, names: ['hook_logits', cross], steps: [0, 2] });
    assert.equal(cache.shape('hook_logits', { step: 2 }), [3, 1, V]);
    assert.equal(cache.shape(`${decoder}.1.encoder_attn.hook_pattern`, { step: 2 }), [3, 4, 1, S]);
    cache.dispose();
  });
});

test('all points are kept by default; a run on encoded images has no points of the vision tower', async () => {
  await withoutLeaks(async () => {
    const points = await hookPoints(model, street, '<CAPTION>', { answer: 'a' });
    const { cache } = await run({ ...greedy, maxNewTokens: 2 });
    assert.equal([...cache.names].sort(), points.map(({ name }) => name).sort());
    cache.dispose();
    const features = await model.encodeImage(street);
    const encoded = await model.runWithCache(features, '<CAPTION>', { ...greedy, maxNewTokens: 1 });
    assert.is(encoded.cache.names.filter(name => /^(vision_tower|multi_modal)/.test(name)).length, 0);
    encoded.cache.dispose();
    features.dispose();
  });
});

test('files say which model, task, image and tokens their activations belong to', async () => {
  await withoutLeaks(async () => {
    const image = await decodeImage(street);
    const image_sha256 = createHash('sha256').update(image.data).digest('hex');
    const common = { model: model.folder, task: 'caption', prompt: 'What does the image describe?' };
    const file = join(folder, 'described.safetensors');
    const options = { ...greedy, maxNewTokens: 3, names: 'hook_logits' };
    const { result, cache } = await model.runWithCache(street, 'caption', { ...options, file });
    const { token_ids, ...rest } = cache.metadata;
    assert.equal(rest, { ...common, image_sha256 });
    const ids: number[] = JSON.parse(token_ids);
    assert.is(ids.length, 4);
    assert.is(model.tokenizer.decode(ids, { skipSpecialTokens: false }).replace(/<\/?s>/g, ''), result.answer);

    const question = await Question.ask(model, image, 'caption', { answer: ids });
    const forced = captureForced(model, question, 'hook_logits');
    assert.equal(forced.metadata, { ...common, image_sha256, token_ids: JSON.stringify([...ids, 2]) });
    const again = join(folder, 'forced.safetensors');
    await forced.save(again);
    for (const [path, expected] of [
      [file, cache],
      [again, forced],
    ] as const) {
      const loaded = await ActivationCache.load(path);
      assert.equal(loaded.metadata, expected.metadata);
      loaded.dispose();
    }
    const features = await model.encodeImage(image);
    const encoded = await model.runWithCache(features, 'caption', options);
    assert.equal(encoded.cache.metadata, { ...common, token_ids });
    for (const owner of [cache, forced, question, features, encoded.cache]) owner.dispose();
  });
});

test('a head equals its slice of the activation', async () => {
  await withoutLeaks(async () => {
    const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A car' });
    const cache = captureForced(model, question, ['**.hook_z', '**.hook_channel_pattern', '**.hook_attn_scores']);
    for (const name of cache.names) {
      const [B, heads, ...rest] = cache.shape(name);
      const whole = await values(cache, name);
      const size = rest.reduce((a, b) => a * b);
      for (const head of [0, heads - 1]) {
        const one = await values(cache, name, { head });
        assert.is(one.length, B * size);
        for (let row = 0; row < B; row++) {
          const from = (row * heads + head) * size;
          assert.equal(
            one.subarray(row * size, (row + 1) * size),
            whole.subarray(from, from + size),
            `${name}, head ${head}`,
          );
        }
      }
    }
    cache.dispose();
    question.dispose();
  });
});

test('reading a missing activation is an error that lists what was kept', async () => {
  await withoutLeaks(async () => {
    const { cache } = await run({ ...greedy, names: ['hook_logits', cross, '**.hook_pooled'], steps: [1, 3] });
    const pattern = `${decoder}.{layer}.encoder_attn.hook_pattern`;
    for (const [name, part, message] of [
      ['hook_logit', {}, /^No activation named hook_logit was kept\. Did you mean logits\?$/],
      ['multi_modal_projector.hook_poled', {}, /was not kept\. Kept points: multi_modal_projector\.hook_pooled, /],
      [`${decoder}.0.encoder_attn.hook_patern`, {}, /was not kept\. Kept points: language_model\.decoder\.layers\.0/],
      ['hook_logits', {}, /^hook_logits was kept at 2 steps: set `step` to one of 1, 3\.$/],
      ['hook_logits', { step: 2 }, /^hook_logits was not kept at step 2: it was kept at steps 1, 3\.$/],
      ['hook_logits', { step: -3 }, /at step -3: it was kept at steps 1, 3/],
      ['multi_modal_projector.hook_pooled', { step: 1 }, /at step 1: it is outside generation/],
      [pattern, { step: 1 }, /needs `layer`/],
      [pattern, { step: 1, layer: 5 }, /^language_model\.decoder\.layers\.5.* was not kept/],
      [pattern, { step: 1, layer: 0, head: 4 }, /Head 4 does not exist at .*; heads are 0 to 3/],
      [pattern, { step: 1, layer: 0, head: -1 }, /head must be a whole number of at least 0, not -1/],
      ['hook_logits', { step: 1, head: 0 }, /^hook_logits has no heads; its shape is \[1,1,\d+\]/],
    ] as [string, object, RegExp][]) {
      for (const read of [() => cache.get(name, part), () => cache.shape(name, part)]) {
        assert.throws(
          read,
          (error: Error) => error instanceof UsageError && message.test(error.message),
          String(message),
        );
      }
      const error = await cache.array(name, part).catch(error => error);
      assert.match(error.message, message);
    }
    cache.dispose();
    const error = await run({ ...greedy, names: [cross, `${decoder}.7.hook_mlp_out`] }).catch(error => error);
    assert.instance(error, UsageError);
    assert.match(
      error.message,
      /^No hook point of this run is named .*7\.hook_mlp_out\. Did you mean .*\.hook_mlp_out\?/,
    );
  });
});

test('capturing a point again replaces its activation and its heads', async () => {
  await withoutLeaks(async () => {
    const cache = new ActivationCache();
    for (const value of [1, 2]) {
      cache.put('x.hook_z', undefined, tf.fill([1, 2, 3, 1], value));
      assert.equal(await values(cache, 'x.hook_z', { head: 1 }), Float32Array.of(value, value, value));
    }
    cache.put('y.hook_z', 0, tf.ones([1]));
    cache.drop('x.hook_z');
    assert.equal(cache.names, ['y.hook_z']);
    cache.dispose();
  });
});

// ------------------------------------------------------------------------------------------------------------- files

async function assertSame(got: ActivationCache, want: ActivationCache): Promise<void> {
  assert.equal(got.names, want.names);
  for (const name of want.names) {
    assert.equal(got.steps(name), want.steps(name), name);
    for (const step of want.steps(name).length > 0 ? want.steps(name) : [undefined]) {
      assert.equal(got.shape(name, { step }), want.shape(name, { step }), name);
      assert.equal(await values(got, name, { step }), await values(want, name, { step }), `${name} at step ${step}`);
    }
  }
}

test('saving and loading preserves names, steps and values', async () => {
  await withoutLeaks(async () => {
    const { cache } = await run({ ...greedy, names: ['hook_logits', cross, '**.hook_pooled'], steps: [0, 3] });
    const file = join(folder, 'saved.safetensors');
    await cache.save(file);
    const loaded = await ActivationCache.load(file);
    await assertSame(loaded, cache);
    const stored = await openSafetensors(file);
    const pattern = `${decoder}.0.encoder_attn.hook_pattern`;
    assert.equal(stored.tensors.get(`${pattern}@3`)?.shape, [1, 4, 1, S]);
    assert.ok(stored.tensors.has('multi_modal_projector.hook_pooled'));
    assert.is(stored.tensors.size, 1 + 2 * 3);
    const part = await ActivationCache.load(file, '**.layers.1.**');
    assert.equal(part.names, [`${decoder}.1.encoder_attn.hook_pattern`]);
    part.dispose();
    await stored.close();
    loaded.dispose();
    cache.dispose();
  });
  const error = await ActivationCache.load(join(folder, 'nothing.safetensors')).catch(error => error);
  assert.instance(error, Florence2Error);
});

test('a run with a file stores the same activations as one without', async () => {
  await withoutLeaks(async () => {
    const options = { ...free, numBeams: 2, names: ['**.hook_pattern', 'hook_logits'], steps: [1, 2, 3] };
    const file = join(folder, 'moved.safetensors');
    const kept = await run(options);
    const moved = await run({ ...options, file });
    assert.equal(moved.result, kept.result);
    await assertSame(moved.cache, kept.cache);
    const part = { step: 2, head: 1 };
    assert.equal(
      await moved.cache.array(`${decoder}.1.self_attn.hook_pattern`, part),
      await kept.cache.array(`${decoder}.1.self_attn.hook_pattern`, part),
    );
    assert.throws(
      () => moved.cache.get('hook_logits', { step: 1 }),
      /are in .*moved\.safetensors: read them with array\(\)/,
    );
    const loaded = await ActivationCache.load(file);
    await assertSame(loaded, kept.cache);
    for (const cache of [kept.cache, moved.cache, loaded]) cache.dispose();
    assert.equal(
      readdirSync(folder).filter(name => name.startsWith('.')),
      [],
      'an unfinished file remained',
    );
  });
});

test('with a file, memory does not grow from step to step', async () => {
  const during = async (file?: string) => {
    const tensors: number[] = [];
    const note = () => void tensors.push(tf.memory().numTensors);
    const hooks = [['hook_logits', note]] as const;
    const { cache } = await run({ ...greedy, names: `${decoder}.**`, file }, model.withHooks(hooks));
    cache.dispose();
    return tensors;
  };
  await withoutLeaks(async () => {
    const [first, second, ...later] = await during(join(folder, 'steady.safetensors'));
    assert.ok(second <= first + 4, `${first} tensors at the first step, ${second} at the second`);
    for (const count of later) assert.is(count, second);
    const kept = await during();
    assert.ok(kept.at(-1)! - kept[1] > 4 * 30, 'without a file, memory grows');
  });
});

for (const [what, options, fail] of [
  ['is aborted', { signal: AbortSignal.timeout(0) }, null],
  ['names a point that does not exist', { names: ['hook_logits', 'hook_logit'] }, null],
  ['has a hook that throws', {}, 3],
] as [string, CacheOptions, number | null][]) {
  test(`a run that ${what} writes no file and keeps an existing one`, async () => {
    const there = join(folder, 'there.safetensors');
    await withoutLeaks(async () => {
      (await run({ ...greedy, names: 'hook_logits', file: there })).cache.dispose();
      const before = statSync(there).mtimeMs;
      for (const file of [there, join(folder, 'not-there.safetensors')]) {
        const hook = () => {
          throw new RangeError('from the hook');
        };
        const hooks = fail === null ? [] : [['hook_logits', hook, { step: fail }] as const];
        const attempt = run({ ...greedy, names: 'hook_logits', ...options, file }, model.withHooks(hooks));
        assert.instance(await attempt.catch(error => error), Error);
      }
      assert.is(statSync(there).mtimeMs, before);
      assert.not.ok(existsSync(join(folder, 'not-there.safetensors')));
      assert.equal(
        readdirSync(folder).filter(name => name.startsWith('.')),
        [],
      );
    });
  });
}

test('a file that cannot be written is an error before the run starts', async () => {
  const file = join(folder, 'no', 'such', 'folder.safetensors');
  let steps = 0;
  const counting = model.withHooks([['**', () => void steps++]]);
  const error = await run({ ...greedy, file }, counting).catch(error => error);
  assert.instance(error, Florence2Error);
  assert.match(error.message, /folder\.safetensors cannot be written: its folder does not exist/);
  assert.is(steps, 0);
});

// ------------------------------------------------------------------------------------------------ in PyTorch's layout

test("activations saved in PyTorch's layout equal the reference, whose dumps can be loaded", async () => {
  const cache = new ActivationCache();
  const hooks = new HookRegistry().with([new Capture('**', cache).hook]);
  const subject = { ...(await openSubject()), hooks };
  const features = await encodeImages(subject);
  const logits = await forcedInputs(subject, await encodePrompts({ ...subject, features }, true));
  tf.dispose([features, logits]);
  const file = join(folder, 'as-pytorch.safetensors');
  const { notRenamed } = await cache.save(file, { layout: 'pytorch' });
  assert.equal(
    notRenamed,
    cache.names.filter(name => !dumpForm(name, cache.shape(name))),
  );
  assert.ok(notRenamed.includes('vision_tower.hook_pixels'), String(notRenamed));
  const saved = await openSafetensors(file);
  let compared = 0;
  for (const part of ['vision', 'text']) {
    const path = reference(`model/tiny-pad/${part}.safetensors`);
    const dump = await openSafetensors(path);
    const read = await ActivationCache.load(path);
    const { files } = subject.manifest;
    for (const tensor of files.get(`${part}.safetensors`)!) {
      const { name, shape } = tensor;
      const point = dumpPoint(name)?.point;
      if (!point) continue; // losses, logits of other masks
      const want = await dump.readFloat32(name);
      const own = saved.tensors.get(name);
      const table = point === 'multi_modal_projector.hook_pos_embed'; // the dump has one per image
      assert.equal(own?.shape, table ? [1, ...shape.slice(1)] : shape, name);
      const got = await saved.readFloat32(name);
      const { maxAbs } = difference(got, want.subarray(0, got.length));
      const allowed = tensorTolerance(tensor)!;
      assert.ok(maxAbs <= allowed, `${name}: ${maxAbs}, ${allowed} is allowed`);
      const back = await values(read, point);
      if (!table) assert.ok(difference(await values(cache, point), back).maxAbs <= allowed, `${name}, loaded`);
      compared++;
    }
    await dump.close();
    read.dispose();
  }
  assert.ok(compared > 75, `only ${compared} tensors were compared`);
  assert.ok(
    saved.tensors.has('vision_tower.blocks.0.0.spatial_block.window_attn.hook_q'),
    'points that dumps do not contain',
  );
  await saved.close();
  cache.dispose();
  subject.model.dispose();
  await subject.inputs.close();
});

test.run();
