import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import type { Parameter } from '../nn/params.ts';
import { trainableParameters, untrainable } from '../training/trainable.ts';
import { openSafetensors } from '../weights/safetensors.ts';
import type { NotCompared, TrainingRow } from './report.ts';
import type { Loaded } from './subject.ts';
import { learn, takeSteps, withLesson } from './training_lesson.ts';
import { readRecord } from './training_record.ts';
import { courseRows, type Dumped, gradientRows, parameterRows } from './training_rows.ts';

/** Rows, and what has none because the backend, or nobody, can make it. */
export interface TrainingOutcome {
  readonly rows: TrainingRow[];
  readonly leftOut: NotCompared[];
}

/** Gradients when padding is counted in the loss. */
export const PADDED_LABELS = 'train/padlabels_grads.safetensors';

/**
 * A folder of train/: losses and gradient norms step by step; where the manifest has them, the first step's gradients,
 * at once and with checkpointing, and the parameters after the last step.
 */
export async function checkFullTraining(loaded: Loaded, folder: string): Promise<TrainingOutcome> {
  const { manifest, model } = loaded;
  const record = await readRecord(manifest.folder, folder);
  const [gradientFile, parameterFile] = [`${folder}/grads.safetensors`, `${folder}/params_after3.safetensors`];
  const trainable = trainableParameters(model, record.freeze);
  const reason = obstacle(trainable);
  if (reason) {
    const files = [gradientFile, parameterFile].filter(file => manifest.files.has(file));
    const lost = files.map(file => ({ file, names: manifest.files.get(file)!.map(({ name }) => name), reason }));
    return { rows: [], leftOut: [{ file: record.file, names: ['losses', 'gradient norms'], reason }, ...lost] };
  }
  return withLesson(loaded, trainable, async lesson => {
    const rows: TrainingRow[] = [];
    const leftOut: NotCompared[] = [];
    const compareGradients = (what: string) => (gradients: Map<Parameter, tf.Tensor>) =>
      withDump(loaded, gradientFile, record.roundingNoise, async dumped => {
        rows.push(...(await gradientRows({ file: gradientFile, what }, dumped, trainable, gradients)));
      });
    const compareParameters = () =>
      withDump(loaded, parameterFile, record.roundingNoise, async dumped => {
        const place = { file: parameterFile, what: 'parameters' };
        const compared = await parameterRows(place, dumped, trainable, record.learningRate);
        rows.push(...compared.rows);
        const reason = 'its exact gradient is zero, and AdamW moves it by what rounding leaves';
        if (compared.leftOut.length > 0) leftOut.push({ file: parameterFile, names: compared.leftOut, reason });
      });
    const course = await takeSteps(lesson, record, compareGradients('gradients'), compareParameters);
    if (manifest.files.has(gradientFile)) await learn(lesson, true, compareGradients('gradients, with checkpointing'));
    return { rows: [...courseRows(course, record), ...rows], leftOut };
  });
}

/** The gradients of a loss in which padding counts. */
export async function checkPaddedLabels(loaded: Loaded): Promise<TrainingOutcome> {
  const { model, manifest } = loaded;
  const place = { file: PADDED_LABELS, what: 'gradients' };
  const trainable = trainableParameters(model, ['vision_tower']);
  const reason = obstacle(trainable);
  if (reason) {
    const names = manifest.files.get(PADDED_LABELS)!.map(({ name }) => name);
    return { rows: [], leftOut: [{ file: PADDED_LABELS, names, reason }] };
  }
  const rows: TrainingRow[] = [];
  const compare = (gradients: Map<Parameter, tf.Tensor>) =>
    withDump(loaded, PADDED_LABELS, new Set(), async dumped => {
      rows.push(...(await gradientRows(place, dumped, trainable, gradients)));
    });
  await withLesson(loaded, trainable, lesson => learn(lesson, false, compare), true);
  return { rows, leftOut: [] };
}

/** Why the backend cannot train these, or undefined. */
export function obstacle(trainable: readonly Parameter[]): string | undefined {
  const backend = tf.getBackend();
  const found = untrainable(trainable, backend);
  return found && `${backend} cannot train ${found.name}: ${found.reason}`;
}

/** Opens a file of the manifest; does nothing where the manifest has no such file. */
export async function withDump(
  { manifest }: Loaded,
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
