import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeCheckpoint } from '../../src/checkpoint/write.ts';
import type { Parameter } from '../../src/nn/params.ts';
import { openFolder } from '../../src/platform/node.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { withoutLeaks } from '../backend.ts';
import { apart, learnerCheckpoint, newFolder, valuesOf, withLearner } from '../training/learner.ts';

const folders = { microsoft: await learnerCheckpoint('microsoft'), native: await learnerCheckpoint('native') };
const readJson = (folder: string, name = 'config.json') => JSON.parse(readFileSync(join(folder, name), 'utf8'));

function emptyFolder(): string {
  const folder = newFolder();
  mkdirSync(folder);
  return folder;
}

for (const layout of ['microsoft', 'native'] as const) {
  test(`${layout}: a loaded checkpoint is written with the same tensors and files`, () =>
    withoutLeaks(() =>
      withLearner(folders[layout], async florence => {
        const to = emptyFolder();
        await writeCheckpoint(florence, openFolder(to));
        const [before, after] = await Promise.all(
          [folders[layout], to].map(folder => openSafetensors(join(folder, 'model.safetensors'))),
        );
        assert.equal([...after.tensors.keys()].sort(), [...before.tensors.keys()].sort());
        for (const [name, { shape, dtype }] of before.tensors) {
          assert.equal([after.tensors.get(name)!.shape, after.tensors.get(name)!.dtype], [shape, dtype], name);
          assert.equal(await after.readFloat32(name), await before.readFloat32(name), name);
        }
        await Promise.all([before.close(), after.close()]);
        assert.equal(readdirSync(to).sort(), readdirSync(folders[layout]).sort());
        for (const name of readdirSync(to).filter(name => name.endsWith('.json'))) {
          assert.equal(readJson(to, name), readJson(folders[layout], name), name);
        }
      }),
    ));
}

/** Half the distance between the smallest numbers of fp16. */
const SUBNORMAL = 2 ** -25;
const dtypes = [
  { dtype: 'fp16', named: 'float16', error: 2 ** -11 },
  { dtype: 'bf16', named: 'bfloat16', error: 2 ** -8 },
] as const;
for (const { dtype, named, error } of dtypes) {
  for (const [layout, key] of [
    ['microsoft', 'torch_dtype'],
    ['native', 'dtype'],
  ] as const) {
    test(`${dtype}, ${layout}: weights are rounded, and the config has the dtype`, () =>
      withLearner(folders[layout], async florence => {
        const to = emptyFolder();
        await writeCheckpoint(florence, openFolder(to), { dtype });
        assert.is(readJson(to)[key], named);
        await withLearner(to, async saved => {
          const [got, expected] = [await valuesOf(saved), await valuesOf(florence)];
          for (const [name, values] of expected) {
            const rounded = got.get(name)!;
            const off = values.findIndex((x, i) => Math.abs(rounded[i] - x) > error * Math.abs(x) + SUBNORMAL);
            assert.is(off, -1, `${name}: ${values[off]} became ${rounded[off]}`);
          }
        });
      }));
  }
}

test('an untied head is written, and the config says so', () =>
  withLearner(folders.native, async florence => {
    const { lmHead } = florence.model;
    lmHead.weight.replace(tf.tidy(() => tf.add(lmHead.weight.value, 1)));
    const to = emptyFolder();
    await writeCheckpoint(florence, openFolder(to));
    const { tie_word_embeddings, text_config } = readJson(to);
    // transformers 5.23 ties the tables of encoder and decoder by text_config: with false it makes up random ones.
    assert.equal([tie_word_embeddings, text_config.tie_word_embeddings], [false, true]);
    await withLearner(to, async saved => {
      assert.ok(saved.model.lmHead.weight.loaded);
      assert.is(apart(await valuesOf(saved), await valuesOf(florence)).by, 0);
    });
  }));

test('fields of config.json that are floats stay floats: transformers refuses 4 for 4.0', () =>
  withLearner(folders.native, async florence => {
    const original = readFileSync(join(florence.folder, 'config.json'), 'utf8');
    const from = emptyFolder();
    cpSync(florence.folder, from, { recursive: true });
    const edited = original.replace(/\n\}\s*$/, ',\n  "layerdrop": 0.0, "ratio": -4.00,\n  "whole": 4\n}\n');
    writeFileSync(join(from, 'config.json'), edited);
    const to = emptyFolder();
    const { model, tokenizer, preprocessor } = florence;
    await writeCheckpoint({ model, tokenizer, preprocessor, folder: from }, openFolder(to));
    const written = readFileSync(join(to, 'config.json'), 'utf8');
    assert.match(written, /"layerdrop": 0\.0,\n {2}"ratio": -4\.0,\n {2}"whole": 4\n/);
  }));

test("a separate table of the decoder is written in the native layout, and refused in Microsoft's", () =>
  withLearner(folders.native, async florence => {
    const { answers } = florence.model.languageModel;
    answers.weight.replace(tf.tidy(() => tf.add(answers.weight.value, 1)));
    const to = emptyFolder();
    await writeCheckpoint(florence, openFolder(to));
    const { tie_word_embeddings, text_config } = readJson(to);
    assert.equal([tie_word_embeddings, text_config.tie_word_embeddings], [false, false]);
    await withLearner(to, async saved => assert.is(apart(await valuesOf(saved), await valuesOf(florence)).by, 0));
    const error = await writeCheckpoint(florence, openFolder(to), { layout: 'microsoft' }).catch(error => error);
    assert.match(error.message, /separate embeddings for prompts and answers.*: save it in layout native\.$/);
  }));

test('adapters are merged into the weights that are written, as merge does', () =>
  withoutLeaks(() =>
    withLearner(folders.microsoft, async florence => {
      const { layers } = florence.adapters.create('a', { r: 1, bias: 'all', targets: ['fc1', 'conv', 'lm_head'] });
      for (const { b } of layers.values()) b.load(new Float32Array(b.shape[0]).fill(0.5));
      const [active, merged] = [emptyFolder(), emptyFolder()];
      await writeCheckpoint(florence, openFolder(active));
      florence.adapters.merge();
      await writeCheckpoint(florence, openFolder(merged));
      const name = 'language_model.encoder.layers.0.fc1.weight';
      const values = async (parameter: Parameter): Promise<Float32Array> =>
        new Float32Array((await parameter.value.data()) as Float32Array);
      const expected = await values(florence.model.parameters.get(name)!);
      for (const folder of [active, merged]) {
        await withLearner(folder, async saved => {
          assert.equal(await values(saved.model.parameters.get(name)!), expected);
          assert.ok(saved.model.lmHead.weight.loaded, 'the adapted head has its own weights');
        });
      }
      const files = [active, merged].map(folder => readFileSync(join(folder, 'model.safetensors')));
      assert.ok(files[0].equals(files[1]), 'the weights are the same, merged before or while they are written');
      florence.adapters.unmerge();
      assert.not.equal(await values(florence.model.parameters.get(name)!), expected);
    }),
  ));

test("Microsoft's code is copied; downloads from the hub, which lack it, name the repository instead", async () => {
  const auto_map = { AutoConfig: 'configuration_florence2.Florence2Config', AutoModel: 'me/code--modeling.Model' };
  const snapshot = join(newFolder(), 'models--microsoft--Florence-2-base', 'snapshots', 'abc');
  for (const hasCode of [true, false]) {
    const from = hasCode ? emptyFolder() : snapshot;
    mkdirSync(from, { recursive: true });
    await withLearner(folders.microsoft, async florence => {
      await writeCheckpoint(florence, openFolder(from));
      writeFileSync(join(from, 'config.json'), JSON.stringify({ ...readJson(from), auto_map }));
      if (hasCode) writeFileSync(join(from, 'configuration_florence2.py'), '# code');
    });
    await withLearner(from, async florence => {
      const to = emptyFolder();
      await writeCheckpoint(florence, openFolder(to));
      assert.is(readdirSync(to).includes('configuration_florence2.py'), hasCode);
      const located = { ...auto_map, AutoConfig: `microsoft/Florence-2-base--${auto_map.AutoConfig}` };
      assert.equal(readJson(to).auto_map, hasCode ? auto_map : located);
    });
  }
});

test('files that are not part of a checkpoint are not copied', () =>
  withLearner(folders.microsoft, async florence => {
    const from = emptyFolder();
    await writeCheckpoint(florence, openFolder(from));
    for (const name of ['training_state.json', 'model.safetensors.index.json', 'notes.txt', 'adapter_config.json']) {
      writeFileSync(join(from, name), '{}');
    }
    await withLearner(from, async saved => {
      const to = emptyFolder();
      await writeCheckpoint(saved, openFolder(to));
      assert.equal(readdirSync(to).sort(), readdirSync(folders.microsoft).sort());
    });
  }));

test.run();
