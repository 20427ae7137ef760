import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import type { DecodingSession, GeneratedSequence } from '../../src/generation/decoding.ts';
import { generateSequences } from '../../src/generation/generate.ts';
import { resolveGeneration } from '../../src/generation/options.ts';
import { CachedSession, UncachedSession } from '../../src/generation/session.ts';
import { type HookFilter, HookRegistry, noHooks } from '../../src/hooks/hooks.ts';
import { forcedLogits, readPixels } from '../../src/parity/subject.ts';
import { withoutLeaks } from '../backend.ts';
import { encodeInputs, openSubject } from '../internals/subject.ts';

const subject = await openSubject();
const { model, generation } = subject;

/** Runs vision tower, encoder and decoder under teacher forcing with hooks -> logits [B, T, V] */
async function run(hooks: HookRegistry): Promise<tf.Tensor3D> {
  const hooked = { ...subject, hooks };
  return forcedLogits(hooked, await encodeInputs(hooked, true));
}

/** Returns every hook point with its shape, by the formulas in the documentation. */
function documentedPoints(): Map<string, string> {
  const B = 2; // images
  const [T, S, L] = [8, 10 + 8, 9]; // tokens: prompt, image and prompt, answer
  const { vision, text } = model.config;
  const points = new Map<string, string>();
  const put = (name: string, ...shape: number[]) => points.set(name, shape.join());
  put('vision_tower.hook_pixels', B, 96, 96, 3);
  vision.dimEmbed.forEach((C, stage) => {
    const H = 24 / 2 ** stage; // rows and columns of the map
    const window = vision.windowSize ** 2;
    const windows = B * Math.ceil(H / vision.windowSize) ** 2;
    put(`vision_tower.convs.${stage}.hook_embed`, B, H, H, C);
    for (let block = 0; block < vision.depths[stage]; block++) {
      for (const kind of ['spatial', 'channel']) {
        const at = `vision_tower.blocks.${stage}.${block}.${kind}_block`;
        for (const leaf of ['resid_pre', 'conv1', 'attn_out', 'resid_mid', 'conv2', 'mlp_out', 'resid_post']) {
          put(`${at}.hook_${leaf}`, B, H, H, C);
        }
        put(`${at}.hook_post`, B, H, H, vision.mlpRatio * C);
      }
      const [heads, groups] = [vision.numHeads[stage], vision.numGroups[stage]];
      const spatial = `vision_tower.blocks.${stage}.${block}.spatial_block.window_attn`;
      const channel = `vision_tower.blocks.${stage}.${block}.channel_block.channel_attn`;
      for (const leaf of ['q', 'k', 'v', 'z']) {
        put(`${spatial}.hook_${leaf}`, windows, heads, window, C / heads);
        put(`${channel}.hook_${leaf}`, B, groups, H * H, C / groups);
      }
      for (const leaf of ['attn_scores', 'pattern']) put(`${spatial}.hook_${leaf}`, windows, heads, window, window);
      for (const leaf of ['attn_scores', 'channel_pattern']) {
        put(`${channel}.hook_${leaf}`, B, groups, C / groups, C / groups);
      }
    }
  });
  const C = vision.dimEmbed.at(-1)!;
  const D = text.dModel;
  put('multi_modal_projector.hook_pos_embed', 3, 3, C);
  put('multi_modal_projector.hook_temporal_embed', 1, C);
  put('multi_modal_projector.hook_pooled', B, S - T, C);
  put('multi_modal_projector.hook_projected', B, S - T, D);
  put('multi_modal_projector.hook_image_features', B, S - T, D);
  for (const [side, layers, heads, length] of [
    ['encoder', text.encoderLayers, text.encoderAttentionHeads, S],
    ['decoder', text.decoderLayers, text.decoderAttentionHeads, L],
  ] as const) {
    put(`language_model.${side}.hook_embed`, B, length, D);
    put(`language_model.${side}.hook_pos_embed`, length, D);
    for (let layer = 0; layer < layers; layer++) {
      const at = `language_model.${side}.layers.${layer}`;
      const leaves = ['resid_pre', 'attn_out', 'resid_mid', 'mlp_out', 'resid_post'];
      if (side === 'decoder') leaves.push('cross_attn_out', 'resid_mid_cross');
      for (const leaf of leaves) put(`${at}.hook_${leaf}`, B, length, D);
      put(`${at}.hook_post`, B, length, side === 'encoder' ? text.encoderFfnDim : text.decoderFfnDim);
      for (const [attn, keys] of side === 'decoder'
        ? ([
            ['self_attn', L],
            ['encoder_attn', S],
          ] as const)
        : ([['self_attn', S]] as const)) {
        // biome-ignore format: one line
        for (const leaf of ['q', 'z']) put(`${at}.${attn}.hook_${leaf}`, B, heads, length, D / heads);
        for (const leaf of ['k', 'v']) put(`${at}.${attn}.hook_${leaf}`, B, heads, keys, D / heads);
        for (const leaf of ['attn_scores', 'pattern']) put(`${at}.${attn}.hook_${leaf}`, B, heads, length, keys);
      }
    }
  }
  put('hook_logits', B, L, text.vocabSize);
  return points;
}

test('every documented hook point is called once per forward pass, with its shape', async () => {
  const hooks = new HookRegistry();
  const seen = new Map<string, string>();
  hooks.add('**', (activation, { name, step }) => {
    assert.not.ok(seen.has(name), `${name} fires twice`);
    assert.is(step, undefined, `${name} has a step outside of a generation`);
    seen.set(name, activation.shape.join());
  });
  await withoutLeaks(async () => (await run(hooks)).dispose());
  const sorted = (points: Map<string, string>) => [...points].map(entry => entry.join(' ')).sort();
  assert.equal(sorted(seen), sorted(documentedPoints()));
});

test('a replacement changes later activations and none before', async () => {
  const point = 'vision_tower.blocks.1.1.spatial_block.hook_resid_post';
  const next = 'vision_tower.blocks.1.1.channel_block.hook_resid_pre';
  const before = 'vision_tower.blocks.1.1.spatial_block.hook_resid_mid';
  const sums = async (hooks: HookRegistry): Promise<Record<string, number>> => {
    const kept: [string, tf.Tensor][] = [];
    const remove = hooks.add(/hook_resid/, (activation, { name }) => {
      kept.push([name, tf.keep(tf.sum(tf.abs(activation)))]);
    });
    (await run(hooks)).dispose();
    remove();
    const values = await Promise.all(kept.map(async ([name, sum]) => [name, (await sum.data())[0]]));
    tf.dispose(kept.map(([, sum]) => sum));
    return Object.fromEntries(values);
  };
  await withoutLeaks(async () => {
    const clean = await sums(new HookRegistry());
    const hooks = new HookRegistry();
    hooks.add(point, activation => tf.zerosLike(activation));
    const changed = await sums(hooks);
    assert.ok(clean[point] > 0);
    assert.is(changed[point], 0, 'a hook that was added later receives the replacement');
    assert.is(changed[next], 0);
    assert.is(changed[before], clean[before]);
    const after = 'language_model.decoder.layers.1.hook_resid_post';
    assert.is.not(changed[after], clean[after]);
  });
});

test('hooks run in the order in which they were added, and are removed one by one', async () => {
  const hooks = new HookRegistry();
  const seen: number[] = [];
  const scale = (factor: number) => (x: tf.Tensor) => {
    seen.push(factor);
    return tf.mul(x, factor);
  };
  const removeFirst = hooks.add('hook_logits', scale(2));
  hooks.add('hook_logits', scale(3));
  const largest = async () => {
    const logits = await run(hooks);
    const max = tf.max(tf.abs(logits));
    logits.dispose();
    const [value] = await max.data();
    max.dispose();
    return value;
  };
  const six = await largest();
  assert.equal(seen, [2, 3]);
  removeFirst();
  removeFirst(); // removing it twice has no effect
  const three = await largest();
  hooks.clear();
  const one = await largest();
  assert.ok(Math.abs(six / one - 6) < 1e-5 && Math.abs(three / one - 3) < 1e-5, `${six}, ${three}, ${one}`);
  assert.equal(seen, [2, 3, 3]);
});

for (const [what, filter, count] of [
  ['a name', 'hook_logits', 1],
  ['a part of a name', 'logits', 0],
  ['a regular expression', /^language_model\.decoder\.layers\.\d\.hook_cross/, 2],
  ['a regular expression with a lastIndex', /hook_channel_pattern/g, 5],
  ['a function', (name: string) => name.endsWith('.hook_conv2'), 10],
] as [string, HookFilter, number][]) {
  test(`filter: ${what}`, async () => {
    const hooks = new HookRegistry();
    let fired = 0;
    hooks.add(filter, () => void fired++);
    await withoutLeaks(async () => (await run(hooks)).dispose());
    assert.is(fired, count);
  });
}

for (const point of [
  'vision_tower.convs.2.hook_embed',
  'language_model.encoder.layers.0.self_attn.hook_z',
  'hook_logits',
]) {
  // biome-ignore format: one line
  test(`a replacement of another shape at ${point} is refused`, async () => {
    const hooks = new HookRegistry();
    let shape = '';
    hooks.add(point, activation => {
      shape = activation.shape.join();
      return tf.zeros([...activation.shape.slice(0, -1), 7]);
    });
    let message = '';
    await withoutLeaks(async () => {
      await run(hooks).catch(error => {
        assert.instance(error, Florence2Error);
        message = error.message;
      });
    });
    assert.ok(message.includes(`The hook at ${point} returned shape [`), message);
    assert.ok(message.includes(`[${shape}]`), message);
  });
}

for (const point of [
  'vision_tower.blocks.0.0.spatial_block.window_attn.hook_q',
  'language_model.encoder.hook_embed',
  'language_model.decoder.layers.1.encoder_attn.hook_k', // while the caches are computed
  'language_model.decoder.layers.1.hook_mlp_out',
]) {
  test(`an error in a hook at ${point} reaches the caller and leaks no tensor`, async () => {
    const hooks = new HookRegistry();
    hooks.add(point, () => {
      throw new RangeError('mine');
    });
    const attempts = [() => run(hooks), () => generate(true, hooks), () => generate(false, hooks)];
    for (const attempt of attempts as (() => Promise<unknown>)[]) {
      let message = '';
      await withoutLeaks(async () => {
        await attempt().catch(error => {
          message = error.message;
        });
      });
      assert.is(message, 'mine');
    }
  });
}

test('without hooks nothing is computed for hooks', async () => {
  model.executor = model; // its operations can be counted
  assert.is(new HookRegistry().root(), noHooks);
  const pixels = await readPixels(subject.inputs);
  const kernels = async (hooks: HookRegistry) => {
    const profile = await tf.profile(() => model.encodeImage(pixels, hooks.root()));
    (profile.result as tf.Tensor).dispose();
    return profile.kernels.map(({ name }) => name);
  };
  const none = await kernels(new HookRegistry());
  const elsewhere = new HookRegistry();
  elsewhere.add('hook_logits', logits => tf.neg(logits));
  assert.equal(await kernels(elsewhere), none);
  pixels.dispose();
});

/** Generates 5 tokens for the first image. Returns them with the steps at which hooks were called, by point. */
async function generate(useCache: boolean, hooks: HookRegistry): Promise<GeneratedSequence> {
  const options = {
    numBeams: 1,
    maxNewTokens: 5,
    forcedBosTokenId: null,
    forcedEosTokenId: null,
    noRepeatNgramSize: 0,
  };
  const settings = resolveGeneration({ ...options, useCache }, generation, model.config.text);
  const memory = await encodeInputs({ ...subject, hooks }, true);
  let session: DecodingSession;
  try {
    session = new (useCache ? CachedSession : UncachedSession)(model, memory, 1, hooks);
  } finally {
    tf.dispose([memory.states, memory.mask ?? []]);
  }
  const [[first]] = await generateSequences(session, settings).finally(() => session.dispose());
  return first;
}

for (const useCache of [true, false]) {
  const how = useCache ? 'with a cache' : 'without a cache';

  test(`a generation ${how} passes its steps to hooks`, async () => {
    const hooks = new HookRegistry();
    const steps = new Map<string, (number | undefined)[]>();
    hooks.add(
      /hook_logits|decoder\.layers\.0\.hook_mlp_out|encoder_attn\.hook_[kq]|image_features/,
      (_, { name, step }) => {
        // biome-ignore format: one line
        steps.set(name, [...(steps.get(name) ?? []), step]);
      },
    );
    await withoutLeaks(() => generate(useCache, hooks));
    const all = [0, 1, 2, 3, 4];
    assert.equal(steps.get('hook_logits'), all);
    assert.equal(steps.get('language_model.decoder.layers.0.hook_mlp_out'), all);
    assert.equal(steps.get('language_model.decoder.layers.1.encoder_attn.hook_q'), all);
    const keys = steps.get('language_model.decoder.layers.1.encoder_attn.hook_k');
    assert.equal(keys, useCache ? [0] : all, 'with a cache, the keys of cross-attention are computed once');
    assert.equal(steps.get('multi_modal_projector.hook_image_features'), [undefined]);
  });

  test(`a hook changes one step of a generation ${how}`, async () => {
    const clean = await withoutLeaks(() => generate(useCache, new HookRegistry()));
    const hooks = new HookRegistry();
    hooks.add('hook_logits', (logits, { step }) => (step === 2 ? only(logits, 77) : undefined));
    const changed = await withoutLeaks(() => generate(useCache, hooks));
    assert.equal(changed.ids.slice(0, 3), clean.ids.slice(0, 3));
    assert.is(changed.ids[3], 77);
  });
}

/** Logits that make generation choose one token. */
function only(logits: tf.Tensor, token: number): tf.Tensor {
  const V = logits.shape.at(-1)!;
  return tf.add(tf.zerosLike(logits), tf.mul(tf.oneHot(token, V), 50));
}

test.run();
