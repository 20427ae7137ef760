import * as tf from '@tensorflow/tfjs';
import type { Florence2Config } from '../config/model.ts';
import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { lowRankDelta, requireMergeable } from '../nn/low_rank.ts';
import type { Adaptation, Parameter } from '../nn/params.ts';
import {
  canonicalName,
  DECODER_TABLE_NAME,
  HEAD_NAME,
  LOGITS_BIAS_NAME,
  SHARED_NAME,
  toMicrosoft,
  toNative,
} from '../weights/names.ts';
import type { TensorToWrite } from '../weights/safetensors.ts';

/** Tensor names of a checkpoint: Microsoft's code (`trust_remote_code`), or transformers' native Florence-2. */
export type CheckpointLayout = Florence2Config['dialect'];

/** Tables with a row for each token. */
const TABLES = new Set([SHARED_NAME, DECODER_TABLE_NAME, HEAD_NAME]);

type FloatDtype = 'F32' | 'F16' | 'BF16';

/** Returns a tensor with the name and orientation of a layout, given its canonical name, shape and values. */
export function storedTensor(
  name: string,
  shape: number[],
  layout: CheckpointLayout,
  dtype: FloatDtype,
  data: () => Float32Array | Promise<Float32Array>,
): TensorToWrite {
  const fileName = layout === 'microsoft' ? toMicrosoft(name) : toNative(name);
  if (!canonicalName(fileName)?.transposed) return { name: fileName, shape, dtype, data };
  return { name: fileName, shape: shape.toReversed(), dtype, data: async () => transpose(await data(), shape) };
}

function transpose(values: Float32Array, [rows, columns]: number[]): Float32Array {
  return values.map((_, at) => values[(at % rows) * columns + Math.floor(at / rows)]);
}

/**
 * Returns the tensors of a model for a checkpoint, with adapters merged into the weights. Their values are computed one
 * tensor at a time, while they are written.
 *
 * @param config of the checkpoint: its layout, and its vocabulary, which may be larger than the model's
 * @throws UsageError for a bias of the logits that is not zero, which the native layout lacks, and for a separate table of
 *   the decoder, which Microsoft's lacks
 */
export async function storedTensors(
  model: Florence2Model,
  adaptation: Adaptation,
  { dialect, text: { vocabSize, padTokenId } }: Florence2Config,
  dtype: FloatDtype,
): Promise<TensorToWrite[]> {
  const adapters = new Map([...adaptation.layers].map(([name, list]) => [model.adaptable.get(name)!.weight, list]));
  for (const weight of adapters.keys()) requireMergeable(weight);
  const valuesOf = async (parameter: Parameter): Promise<Float32Array> => {
    const merged = (): tf.Tensor => {
      const added = adapters.get(parameter);
      const sum = added ? tf.add(parameter.value, lowRankDelta(parameter, added)) : parameter.value;
      return parameter.inCheckpointOrder(sum);
    };
    const tensor = model.compute(() => tf.tidy(merged), adaptation);
    return (await tensor.data().finally(() => tensor.dispose())) as Float32Array;
  };
  const isLoaded = (parameter: Parameter): boolean =>
    model.compute(() => parameter.loaded, adaptation) || adapters.has(parameter);
  const { answers } = model.languageModel;
  const bias = model.lmHead.finalLogitsBias;
  if (dialect === 'native' && isLoaded(bias)) requireZero(await valuesOf(bias));
  if (dialect === 'microsoft' && isLoaded(answers.weight)) {
    throw new UsageError(
      "The model has separate embeddings for prompts and answers, and Microsoft's code has one table: save it in layout native.",
    );
  }
  const tensors: TensorToWrite[] = [];
  for (const parameter of model.parameters.values()) {
    const { name, shape } = parameter;
    const [rows, ...row] = shape;
    const store = (shape: number[], data: () => Float32Array | Promise<Float32Array>) =>
      tensors.push(storedTensor(name, shape, dialect, dtype, data));
    if (name === LOGITS_BIAS_NAME) {
      if (dialect === 'microsoft') store(shape, () => (isLoaded(bias) ? valuesOf(bias) : new Float32Array(vocabSize)));
    } else if (isLoaded(parameter) || (name === HEAD_NAME && isLoaded(answers.weight))) {
      // A head that is tied beside a separate table of the decoder would be tied to that when it is read.
      if (!TABLES.has(name)) store(shape, () => valuesOf(parameter));
      else store([vocabSize, ...row], async () => withRows(await valuesOf(parameter), rows, vocabSize, padTokenId));
    }
  }
  return tensors;
}

function requireZero(bias: Float32Array): void {
  if (bias.every(value => value === 0)) return;
  throw new UsageError(
    "The model has a final_logits_bias that is not zero, and transformers' layout has none: save it in layout microsoft.",
  );
}

/**
 * Returns a table of embeddings with more rows, copies of a row of a token that is never predicted. Rows of zeros would
 * have the logit 0, which may be the largest.
 */
function withRows(table: Float32Array, rows: number, wanted: number, copied: number): Float32Array {
  if (wanted === rows) return table;
  const width = table.length / rows;
  const grown = new Float32Array(wanted * width);
  grown.set(table);
  for (let row = rows; row < wanted; row++)
    grown.set(table.subarray(copied * width, (copied + 1) * width), row * width);
  return grown;
}
