import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import type { Parameter } from '../nn/params.ts';
import { openSafetensors, type TensorToWrite, writeSafetensors } from '../weights/safetensors.ts';
import { elementCount } from '../weights/tensor_file.ts';
import type { AdamW, Moments } from './optimizer.ts';

/** Where a run stands. All its random numbers follow from the seed and these counters. */
export interface RunState {
  /** Steps done. */
  step: number;
  /** Of the last step; null before the first. */
  loss: number | null;
  /** The step of the last validation that was finished. */
  validated: number;
  /** The best validation so far. */
  best: { step: number; loss: number } | null;
}

const STATE_FILE = 'training_state.json';
const TENSOR_FILE = 'training_state.safetensors';

/** Writes everything that a run goes on from into a folder: trained parameters and the optimizer's means, in fp32. */
export async function writeRunState(
  folder: string,
  state: RunState,
  trainable: readonly Parameter[],
  optimizer: AdamW,
): Promise<void> {
  const tensors = trainable.flatMap((parameter): TensorToWrite[] => {
    const moments = optimizer.moments.get(parameter.name);
    const values = { parameter: parameter.value, ...(moments ?? {}) };
    return Object.entries(values).map(([part, tensor]) => ({
      name: `${part}/${parameter.name}`,
      shape: tensor.shape,
      data: async () => (await tensor.data()) as Float32Array,
    }));
  });
  await writeSafetensors(join(folder, TENSOR_FILE), tensors, {});
  await writeFile(join(folder, STATE_FILE), JSON.stringify({ ...state, optimizerSteps: optimizer.steps }, null, 2));
}

/**
 * Reads what `writeRunState` wrote into the same model.
 *
 * @throws Florence2Error when the folder's run had other parameters
 */
export async function readRunState(
  folder: string,
  trainable: readonly Parameter[],
  optimizer: AdamW,
): Promise<RunState> {
  const { optimizerSteps, ...state } = JSON.parse(await readFile(join(folder, STATE_FILE), 'utf8'));
  const file = await openSafetensors(join(folder, TENSOR_FILE));
  try {
    const read = async (name: string, { shape }: tf.Tensor): Promise<tf.Tensor | null> => {
      const stored = file.tensors.get(name);
      if (!stored) return null;
      if (elementCount(stored.shape) !== elementCount(shape)) {
        throw new Florence2Error(
          `${file.path}: ${name} has shape [${stored.shape}], but this run makes it [${shape}].`,
        );
      }
      return tf.tensor(await file.readFloat32(name), shape);
    };
    const moments: [string, Moments][] = [];
    for (const parameter of trainable) {
      const { name, value } = parameter;
      const own = await read(`parameter/${name}`, value);
      if (!own) throw new Florence2Error(`${file.path} lacks ${name}, which this run trains.`);
      parameter.replace(own);
      const [first, second] = [await read(`first/${name}`, own), await read(`second/${name}`, own)];
      if (first && second) moments.push([name, { first, second }]);
    }
    const surplus = [...file.tensors.keys()].filter(name => name.startsWith('parameter/')).length - trainable.length;
    if (surplus > 0) throw new Florence2Error(`${file.path} has ${surplus} parameters that this run does not train.`);
    optimizer.restore(optimizerSteps, moments);
    return state;
  } finally {
    await file.close();
  }
}
