/**
 * Tests that what the trainer writes has the same logits in transformers and PEFT, and that adapters trained with PEFT
 * have the same logits here:
 *
 *     python3 -m venv .venv && .venv/bin/pip install -r tools/interop/requirements.txt
 *     npx tsx tools/interop/run.ts --python .venv/bin/python [--backend NAME] [--keep DIR]
 *
 * Trains a few steps on tiny random checkpoints of both layouts. check.py loads the results and trains adapters with
 * PEFT, which are then loaded here. Prints the largest differences, and fails if one exceeds the limit.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { exitOnError } from '../../src/cli/exit.ts';
import { Florence2Error } from '../../src/errors.ts';
import { decodeImage } from '../../src/image/decode.ts';
import { Florence2, noHooks, preprocess, toTensor } from '../../src/index.ts';
import type { BackendName } from '../../src/runtime/backend.ts';
import type { TrainerOptions } from '../../src/training/options.ts';
import { Trainer } from '../../src/training/trainer.ts';
import type { TensorToWrite } from '../../src/weights/safetensors.ts';
import { openSafetensors, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { writeRandomCheckpoint } from '../random_checkpoint.ts';

/** Largest difference allowed between the fp32 logits of two implementations. */
const LIMIT = 1e-4;

const picture = fileURLToPath(new URL('../../docs/pictures/street.jpg', import.meta.url));
const checkPy = fileURLToPath(new URL('./check.py', import.meta.url));
const prompt = 'What does the image describe?';
const answer = 'a green car <new_3><loc_52><loc_334><loc_932><loc_774>';

/** More tokens than a native embedding table has spare rows. */
const newTokens = Array.from({ length: 70 }, (_, i) => `<new_${i}>`);

/** The trainings: the whole model, and adapters from the defaults to everything that an adapter file can contain. */
const runs: Record<string, Partial<TrainerOptions>> = {
  full: { freeze: [], learningRate: 1e-3 },
  'full-new-tokens': { freeze: [], learningRate: 1e-3, newTokens },
  lora: { lora: {}, learningRate: 1e-2 },
  'lora-everything': {
    lora: {
      targets: ['q_proj', 'qkv', 'conv', 'fc1', 'lm_head'],
      ...{ r: 4, alpha: 6, rsLora: true, init: 'gaussian', bias: 'all' },
      rankPattern: { 'encoder.layers.0.self_attn.q_proj': 2 },
      alphaPattern: { qkv: 3 },
      modulesToSave: ['decoder.layernorm_embedding', 'encoder.layers.1.fc2'],
    },
    learningRate: 1e-2,
  },
  'lora-saved-head': { lora: { modulesToSave: ['lm_head'], bias: 'lora_only' }, learningRate: 1e-2 },
  'lora-saved-table': { lora: { modulesToSave: ['shared'] }, learningRate: 1e-2 },
  'lora-new-tokens': { lora: {}, learningRate: 1e-2, newTokens },
};

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      python: { type: 'string', default: 'python3' },
      backend: { type: 'string', default: 'auto' },
      keep: { type: 'string' },
    },
  });
  const backend = values.backend as BackendName | 'auto';
  const folder = values.keep ? resolve(values.keep) : await mkdtemp(join(tmpdir(), 'florence2-interop-'));
  try {
    await mkdir(folder, { recursive: true });
    for (const layout of ['native', 'microsoft'] as const) {
      const base = join(folder, layout, 'base');
      await writeRandomCheckpoint(base, { shape: 'tiny', seed: 1, dtype: 'F32', layout });
      for (const [name, options] of Object.entries(runs))
        await train(base, join(folder, layout, name), options, backend);
    }
    const { status, error } = spawnSync(values.python, [checkPy, folder, String(LIMIT)], { stdio: 'inherit' });
    if (error) throw new Florence2Error(`${values.python} cannot be run: ${error.message}.`);
    const right = await loadFromPeft(folder, backend);
    if (status !== 0 || !right) process.exitCode = 1;
  } finally {
    if (!values.keep) await rm(folder, { recursive: true, force: true });
  }
}

/** Trains for three steps, and writes the logits before and after to expected.safetensors in the run's folder. */
async function train(
  base: string,
  output: string,
  options: Partial<TrainerOptions>,
  backend: BackendName | 'auto',
): Promise<void> {
  const florence = await Florence2.load(base, { backend });
  const example = {
    image: picture,
    targets: [
      { task: '<CAPTION>', answer: 'a green car <new_3>' },
      { task: '<OD>', answer: 'car<loc_52><loc_334><loc_932><loc_774>' },
    ],
    source: 'example',
  };
  const dataset = { name: 'one image', length: 1, example: () => example };
  try {
    const before = await forcedLogits(florence);
    await new Trainer(florence, { output, train: dataset, epochs: 3, schedule: 'constant', ...options }).run();
    const { inputs, logits } = await forcedLogits(florence);
    const tensors = { ...inputs, logits, 'logits.before': before.logits };
    const toWrite = Object.entries(tensors).map(([name, { shape, values }]): TensorToWrite => {
      return { name, shape, data: () => values };
    });
    await writeSafetensors(join(output, 'expected.safetensors'), toWrite, {});
  } finally {
    florence.dispose();
  }
}

interface Values {
  shape: number[];
  values: Float32Array;
}

/** Returns the logits of an answer under teacher forcing, and the inputs. */
async function forcedLogits(florence: Florence2): Promise<{ inputs: Record<string, Values>; logits: Values }> {
  const { model, tokenizer, preprocessor, config } = florence;
  const raw = await decodeImage(picture);
  const promptIds = tokenizer.encode(prompt);
  const decoderIds = [config.text.decoderStartTokenId, ...tokenizer.encode(answer).slice(0, -1)];
  const tensors = tf.tidy(() => {
    const pixels = toTensor(preprocess([raw], preprocessor)); // [1, H, W, 3]
    const memory = model.encodePrompt(
      model.encodeImage(pixels, noHooks),
      tf.tensor2d([promptIds], undefined, 'int32'),
      null,
      noHooks,
    );
    return {
      pixel_values: tf.transpose(pixels, [0, 3, 1, 2]),
      prompt_ids: tf.tensor2d([promptIds]),
      decoder_input_ids: tf.tensor2d([decoderIds]),
      logits: model.logits(tf.tensor2d([decoderIds], undefined, 'int32'), memory, noHooks),
    };
  });
  const entries = Object.entries(tensors).map(async ([name, tensor]) => {
    const values = Float32Array.from(await tensor.data());
    return [name, { shape: tensor.shape, values }] as const;
  });
  const { logits, ...inputs } = Object.fromEntries(await Promise.all(entries));
  tf.dispose(tensors);
  return { inputs, logits };
}

/** Loads the adapters that check.py trained with PEFT on the native checkpoint. Returns whether all logits agree. */
async function loadFromPeft(folder: string, backend: BackendName | 'auto'): Promise<boolean> {
  const florence = await Florence2.load(join(folder, 'native', 'base'), { backend });
  const adapters = await readdir(join(folder, 'peft')).catch(() => []);
  let right = adapters.length > 0;
  console.log('\ntrained with PEFT, loaded here');
  for (const name of adapters) {
    const from = join(folder, 'peft', name);
    await florence.loadAdapter(from, { name });
    const got = (await forcedLogits(florence)).logits.values;
    florence.adapters.remove(name);
    const expected = await openSafetensors(join(from, 'expected.safetensors'));
    const after = await expected.readFloat32('logits');
    const before = await expected.readFloat32('logits.before');
    await expected.close();
    const difference = largestDifference(got, after);
    right &&= difference <= LIMIT;
    console.log(row(name, largestDifference(before, after), difference));
  }
  florence.dispose();
  return right;
}

const largestDifference = (a: Float32Array, b: Float32Array): number => {
  if (a.length !== b.length) return Number.NaN;
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);
};

const row = (name: string, moved: number, difference: number): string =>
  `  ${name.padEnd(28)} training moved the logits by ${moved.toFixed(3)}, they differ by ${difference.toExponential(1)}${difference <= LIMIT ? '' : '  TOO MUCH'}`;

await exitOnError(main);
