import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { writeError } from '../files/errors.ts';
import { readTextFile } from '../files/whole_file.ts';
import { parseJsonObject } from '../json.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import type { Parameter } from '../nn/params.ts';
import type { TensorToWrite } from '../weights/safetensors.ts';
import { openSafetensors, writeSafetensors } from '../weights/safetensors_file.ts';
import type { TensorFile } from '../weights/tensor_file.ts';
import type { BestValidation } from './best.ts';
import type { TrendState } from './loss_trend.ts';
import type { AdamW, Moments } from './optimizer.ts';
import type { RunIdentity } from './run_identity.ts';

/** The progress of a run. All its random numbers are derived from the seed and these counters. */
export interface RunState {
  /** Steps completed. */
  step: number;
  /** Loss of the last step; null before the first. */
  loss: number | null;
  /** The step after which the last completed validation ran. */
  validated: number;
  best: BestValidation | null;
  /** Number of validations since the best one. */
  sinceBest: number;
  /** Means of the loss, see `LossTrend`; absent before the first step. */
  trend?: TrendState;
  /** What the run trains; absent in runs of earlier versions. */
  identity?: RunIdentity;
}

const STATE_FILE = 'training_state.json';
const TENSOR_FILE = 'training_state.safetensors';

/** Writes the state for resuming a run: counters, trained parameters and the optimizer's running means, in fp32. */
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
  const file = join(folder, STATE_FILE);
  await writeFile(file, JSON.stringify({ ...state, optimizerSteps: optimizer.steps }, null, 2)).catch(error => {
    throw writeError(file, error);
  });
}

/**
 * Reads the state that `writeRunState` wrote: loads the parameters and the optimizer's means, and returns the counters.
 *
 * @param model the model that is trained, on whose backend the state is restored
 * @param check called with the counters before anything is changed; what it throws is passed on
 * @throws Florence2Error if the saved run trained other parameters; nothing is changed then
 */
export async function readRunState(
  folder: string,
  trainable: readonly Parameter[],
  optimizer: AdamW,
  model: Florence2Model,
  check: (state: RunState) => void,
): Promise<RunState> {
  const stateFile = join(folder, STATE_FILE);
  const text = await readTextFile(stateFile);
  const { optimizerSteps, ...state } = parseJsonObject(text, stateFile) as unknown as RunState & {
    optimizerSteps: number;
  };
  check(state);
  const { best } = state;
  if (best) state.best = { ...best, by: best.by ?? 'loss', value: best.value ?? best.loss }; // absent in earlier runs
  state.sinceBest ??= 0;
  const file = await openSafetensors(join(folder, TENSOR_FILE));
  try {
    checkParameters(file, trainable);
    const read = async (name: string): Promise<tf.Tensor1D> => {
      const values = await file.readFloat32(name);
      return model.compute(() => tf.tensor1d(values));
    };
    const moments: [string, Moments][] = [];
    for (const parameter of trainable) {
      const { name } = parameter;
      const value = await read(`parameter/${name}`);
      model.compute(() => parameter.replace(tf.reshape(value, parameter.value.shape)));
      value.dispose();
      if (!file.tensors.has(`first/${name}`)) continue; // the parameter had no gradient yet
      moments.push([name, { first: await read(`first/${name}`), second: await read(`second/${name}`) }]);
    }
    optimizer.restore(optimizerSteps, moments);
    return state;
  } finally {
    await file.close();
  }
}

function checkParameters({ path, tensors }: TensorFile, trainable: readonly Parameter[]): void {
  for (const { name, value } of trainable) {
    const stored = tensors.get(`parameter/${name}`);
    if (!stored)
      throw new Florence2Error(
        `${path} lacks ${name}, which this run trains. Resume with the options that the run was started with.`,
      );
    if (stored.shape.join() !== value.shape.join()) {
      throw new Florence2Error(
        `${path}: ${name} has shape [${stored.shape.join(', ')}], but in this run it has shape [${value.shape.join(', ')}].`,
      );
    }
  }
  const surplus = [...tensors.keys()].filter(name => name.startsWith('parameter/')).length - trainable.length;
  if (surplus > 0) throw new Florence2Error(`${path} has ${surplus} parameters that this run does not train.`);
}
