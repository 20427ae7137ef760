import type * as tf from '@tensorflow/tfjs';
import type { Parameter } from '../nn/params.ts';
import { trainableParameters } from '../training/trainable.ts';
import { isTrainingFile, type NotCompared, type TrainingRow } from './report.ts';
import { dumpedVocabulary } from './sequences.ts';
import type { Subject } from './subject.ts';
import { checkLoraTraining } from './training_lora.ts';
import { readRecord } from './training_record.ts';
import { gradientRows, parameterRows, stepRows, type TrainingOutcome, withDump } from './training_rows.ts';
import { takeSteps, untrainableReason, withGradients, withTrainingSetup } from './training_steps.ts';

/** Repeats and compares every recorded training of a reference folder. The weights are restored afterwards. */
export async function checkTraining(
  subject: Subject,
): Promise<{ training: TrainingRow[]; skipped: NotCompared[]; leftOut: NotCompared[] }> {
  const { manifest, model } = subject;
  const own = model.config.text.vocabSize;
  const dumped = dumpedVocabulary(manifest) ?? own;
  if (dumped !== own) {
    const reason = `recorded with another vocabulary than this checkpoint's ${own} rows`;
    const files = [...manifest.files].filter(([file]) => isTrainingFile(file));
    return {
      training: [],
      skipped: files.map(([file, tensors]) => ({ file, names: tensors.map(({ name }) => name), reason })),
      leftOut: [],
    };
  }
  const outcomes: TrainingOutcome[] = [];
  for (const folder of manifest.trainings) {
    const check = folder.startsWith('lora/') ? checkLoraTraining : checkFullTraining;
    outcomes.push(await check(subject, folder));
  }
  if (manifest.files.has(PADDED_LABELS)) outcomes.push(await checkPaddedLabels(subject));
  return {
    training: outcomes.flatMap(({ rows }) => rows),
    skipped: [],
    leftOut: outcomes.flatMap(({ leftOut }) => leftOut),
  };
}

/** The file of gradients of a loss that includes padding. */
const PADDED_LABELS = 'train/padlabels_grads.safetensors';

/**
 * Compares a folder of train/: losses and gradient norms of each step and, if the manifest lists them, the gradients of
 * the first step (with and without gradient checkpointing) and the parameters after the last step.
 */
async function checkFullTraining(subject: Subject, folder: string): Promise<TrainingOutcome> {
  const { manifest, model } = subject;
  const record = await readRecord(manifest.folder, folder);
  const [gradientFile, parameterFile] = [`${folder}/grads.safetensors`, `${folder}/params_after3.safetensors`];
  const trainable = trainableParameters(model, record.freeze);
  const reason = untrainableReason(trainable);
  if (reason) {
    const files = [gradientFile, parameterFile].filter(file => manifest.files.has(file));
    const lost = files.map(file => ({ file, names: manifest.files.get(file)!.map(({ name }) => name), reason }));
    return { rows: [], leftOut: [{ file: record.file, names: ['losses', 'gradient norms'], reason }, ...lost] };
  }
  return withTrainingSetup(subject, trainable, async setup => {
    const rows: TrainingRow[] = [];
    const leftOut: NotCompared[] = [];
    const compareGradients = (what: string) => (gradients: Map<Parameter, tf.Tensor>) =>
      withDump(subject, gradientFile, record.roundingNoise, async dumped => {
        rows.push(...(await gradientRows({ file: gradientFile, what }, dumped, trainable, gradients)));
      });
    const compareParameters = () =>
      withDump(subject, parameterFile, record.roundingNoise, async dumped => {
        const place = { file: parameterFile, what: 'parameters' };
        const compared = await parameterRows(place, dumped, trainable, record.learningRate);
        rows.push(...compared.rows);
        const reason = 'the exact gradient is zero, so AdamW moves it by rounding errors';
        if (compared.leftOut.length > 0) leftOut.push({ file: parameterFile, names: compared.leftOut, reason });
      });
    const values = await takeSteps(setup, record, compareGradients('gradients'), compareParameters);
    if (manifest.files.has(gradientFile))
      await withGradients(setup, true, compareGradients('gradients, with checkpointing'));
    return { rows: [...stepRows(values, record), ...rows], leftOut };
  });
}

/** Compares the gradients of a loss that includes padding. */
async function checkPaddedLabels(subject: Subject): Promise<TrainingOutcome> {
  const { model, manifest } = subject;
  const place = { file: PADDED_LABELS, what: 'gradients' };
  const trainable = trainableParameters(model, ['vision_tower']);
  const reason = untrainableReason(trainable);
  if (reason) {
    const names = manifest.files.get(PADDED_LABELS)!.map(({ name }) => name);
    return { rows: [], leftOut: [{ file: PADDED_LABELS, names, reason }] };
  }
  const rows: TrainingRow[] = [];
  const compare = (gradients: Map<Parameter, tf.Tensor>) =>
    withDump(subject, PADDED_LABELS, new Set(), async dumped => {
      rows.push(...(await gradientRows(place, dumped, trainable, gradients)));
    });
  await withTrainingSetup(subject, trainable, setup => withGradients(setup, false, compare), true);
  return { rows, leftOut: [] };
}
