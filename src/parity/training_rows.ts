import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import { difference, download } from '../activations/activation.ts';
import type { Parameter } from '../nn/params.ts';
import { canonicalName } from '../weights/names.ts';
import type { SafetensorsFile } from '../weights/safetensors.ts';
import { openSafetensors } from '../weights/safetensors_file.ts';
import type { DumpedTensor } from './manifest.ts';
import type { NotCompared, TrainingRow } from './report.ts';
import type { Subject } from './subject.ts';
import { readDumped } from './tensors.ts';
import { GRAD_NORM, GRADIENT, PARAMETER, PARAMETERS, ROUNDING, trainingLoss } from './tolerance.ts';
import type { TrainingRecord } from './training_record.ts';
import type { StepValues } from './training_steps.ts';

/** The comparisons of a training, and the parts that the backend cannot compute or that cannot be compared. */
export interface TrainingOutcome {
  readonly rows: TrainingRow[];
  readonly leftOut: NotCompared[];
}

/** The file of values in the reference, and how they were computed here. */
export type Place = Pick<TrainingRow, 'file' | 'what'>;

/** Some tensors of a dump. */
export interface Dumped {
  readonly dump: SafetensorsFile;
  readonly tensors: DumpedTensor[];
  /** Native names, see `TrainingRecord`. */
  readonly roundingNoise: ReadonlySet<string>;
}

/** Calls `body` with the tensors of a file. Does nothing if the manifest does not list the file. */
export async function withDump(
  { manifest }: Subject,
  file: string,
  roundingNoise: ReadonlySet<string>,
  body: (dumped: Dumped) => Promise<void>,
): Promise<void> {
  const tensors = manifest.files.get(file);
  if (!tensors) return;
  const dump = await openSafetensors(join(manifest.folder, file));
  try {
    await body({ dump, tensors, roundingNoise });
  } finally {
    await dump.close();
  }
}

export function trainingRow(
  place: Place,
  name: string,
  difference: number,
  tolerance: number,
  problem?: string,
): TrainingRow {
  return { ...place, name, difference, tolerance, equal: difference <= tolerance, ...(problem && { problem }) };
}

/** Compares the losses and the gradient norms of all steps. */
export function stepRows(got: StepValues, record: TrainingRecord): TrainingRow[] {
  const { file, losses, gradNorms } = record;
  const ofLosses = { file, what: 'losses' };
  const ofNorms = { file, what: 'gradient norms' };
  return [
    ...losses.map((loss, step) => {
      const name = step < gradNorms.length ? `loss before step ${step + 1}` : 'loss after the last step';
      return trainingRow(ofLosses, name, finite(Math.abs(got.losses[step] - loss)), trainingLoss(record));
    }),
    ...gradNorms.map((norm, step) => {
      const relative = finite(Math.abs(got.gradNorms[step] / norm - 1));
      return trainingRow(ofNorms, `gradient norm of step ${step + 1}`, relative, GRAD_NORM);
    }),
  ];
}

/** Compares every gradient of a dump. Parameters that are not `trainable` have no row. */
export async function gradientRows(
  place: Place,
  { dump, tensors, roundingNoise }: Dumped,
  trainable: readonly Parameter[],
  gradients: ReadonlyMap<Parameter, tf.Tensor>,
): Promise<TrainingRow[]> {
  const rows: TrainingRow[] = [];
  for (const tensor of tensors) {
    const parameter = named(tensor.name, trainable);
    if (!parameter) continue;
    const want = await readDumped(dump, tensor);
    const got = await inCheckpointOrder(parameter, gradients.get(parameter));
    if (got?.length !== want.length) {
      const problem = got ? `has ${got.length} elements, expected ${want.length}` : 'has no gradient';
      rows.push(trainingRow(place, tensor.name, Infinity, GRADIENT, problem));
      continue;
    }
    const isNoise = noise(tensor.name, want.length, roundingNoise);
    const exact = (values: Float32Array): Float32Array => values.filter((_, i) => !isNoise(i));
    const rounding = got.filter((_, i) => isNoise(i));
    if (rounding.length < got.length) {
      const { maxAbs } = difference(exact(got), exact(want));
      rows.push(trainingRow(place, tensor.name, maxAbs === 0 ? 0 : maxAbs / rms(exact(want)), GRADIENT));
    }
    if (rounding.length > 0) {
      const name = rounding.length < got.length ? `${tensor.name} of the keys` : tensor.name;
      rows.push(trainingRow(place, name, difference(rounding, new Float32Array(rounding.length)).maxAbs, ROUNDING));
    }
  }
  return rows;
}

/**
 * Compares every parameter of a dump after training, and all of them together.
 *
 * @returns `leftOut`: the parameters without a comparable element
 */
export async function parameterRows(
  place: Place,
  { dump, tensors, roundingNoise }: Dumped,
  trainable: readonly Parameter[],
  learningRate: number,
): Promise<{ rows: TrainingRow[]; leftOut: string[] }> {
  const rows: TrainingRow[] = [];
  const leftOut: string[] = [];
  const beyond = PARAMETERS.map(() => 0);
  let count = 0;
  for (const tensor of tensors) {
    const parameter = named(tensor.name, trainable);
    if (!parameter) continue;
    const want = await readDumped(dump, tensor);
    const got = await inCheckpointOrder(parameter, parameter.value);
    const isNoise = noise(tensor.name, want.length, roundingNoise);
    const steps = want.map((value, i) => Math.abs(got![i] - value) / learningRate).filter((_, i) => !isNoise(i));
    if (steps.length === 0) {
      leftOut.push(tensor.name);
      continue;
    }
    const share = countBeyond(steps, PARAMETER.beyond) / steps.length;
    rows.push(trainingRow(place, tensor.name, share, PARAMETER.share));
    count += steps.length;
    PARAMETERS.forEach((limit, i) => {
      beyond[i] += countBeyond(steps, limit.beyond);
    });
  }
  PARAMETERS.forEach((limit, i) => {
    if (count === 0) return;
    const name = `share of all parameters that differ by more than ${limit.beyond} learning rates`;
    rows.push(trainingRow(place, name, beyond[i] / count, limit.share));
  });
  return { rows, leftOut };
}

/** Finds the parameter of a name in a dump, which may have PEFT's prefix or `grad.` before it. */
function named(name: string, parameters: readonly Parameter[]): Parameter | undefined {
  const canonical = canonicalName(name.replace(/^grad\./, ''))?.name;
  return parameters.find(parameter => parameter.name === canonical);
}

async function inCheckpointOrder(parameter: Parameter, tensor: tf.Tensor | undefined) {
  return tensor && (await download(parameter.inCheckpointOrder(tensor))).values;
}

/**
 * Returns which elements of a parameter have an exact gradient of zero. In a fused bias of queries, keys and values,
 * only those of the keys: they shift all scores of a query by the same amount.
 */
function noise(name: string, length: number, roundingNoise: ReadonlySet<string>): (element: number) => boolean {
  if (!roundingNoise.has(name)) return () => false;
  if (!name.endsWith('.qkv.bias')) return () => true;
  return i => i >= length / 3 && i < (2 * length) / 3;
}

/** Counts the differences above a limit, and those that are NaN. */
const countBeyond = (differences: Float32Array, limit: number): number =>
  differences.reduce((count, difference) => count + Number(!(difference <= limit)), 0);

const rms = (values: Float32Array): number =>
  Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);

const finite = (difference: number): number => (Number.isFinite(difference) ? difference : Infinity);
