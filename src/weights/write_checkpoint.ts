import { copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import type { Florence2Model } from '../model.ts';
import { canonicalName, toMicrosoft, toNative } from './names.ts';
import { type TensorToWrite, writeSafetensors } from './safetensors.ts';

export type CheckpointLayout = 'microsoft' | 'native';

/** A tensor as a layout spells and turns it, from its canonical name, shape and values. */
export function storedTensor(
  name: string,
  shape: number[],
  layout: CheckpointLayout,
  dtype: 'F32' | 'F16' | 'BF16',
  data: () => Float32Array | Promise<Float32Array>,
): TensorToWrite {
  const fileName = layout === 'microsoft' ? toMicrosoft(name) : toNative(name);
  if (!canonicalName(fileName)?.transposed) return { name: fileName, shape, dtype, data };
  return { name: fileName, shape: shape.toReversed(), dtype, data: async () => transpose(await data(), shape) };
}

function transpose(values: Float32Array, [rows, columns]: number[]): Float32Array {
  return values.map((_, at) => values[(at % rows) * columns + Math.floor(at / rows)]);
}

/** The files of a checkpoint that are no weights. */
const BESIDE =
  /^((generation_|preprocessor_|processor_|tokenizer_)?config|tokenizer|vocab|special_tokens_map|added_tokens)\.json$|^merges\.txt$/;

/**
 * Writes the model as a checkpoint of its own: weights in the layout of its config.json, and beside them the files
 * that it was loaded with (configuration, tokenizer).
 *
 * @param source the folder that the model was loaded from
 * @param folder exists; files of the same names are replaced
 */
export async function writeCheckpoint(
  model: Florence2Model,
  source: string,
  folder: string,
  dtype: 'F32' | 'F16' | 'BF16' = 'F32',
): Promise<void> {
  const beside = (await readdir(source)).filter(name => BESIDE.test(name));
  for (const name of beside) await copyFile(join(source, name), join(folder, name));
  const tensors = [...model.parameters.values()]
    .filter(({ loaded }) => loaded)
    .map(parameter => {
      const data = async (): Promise<Float32Array> => {
        const ordered = parameter.inCheckpointOrder(parameter.value);
        try {
          return (await ordered.data()) as Float32Array;
        } finally {
          tf.dispose(ordered);
        }
      };
      return storedTensor(parameter.name, parameter.shape, model.config.dialect, dtype, data);
    });
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
}
