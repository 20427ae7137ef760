import type { NotCompared, TrainingRow } from './report.ts';
import { isTrainingFile } from './report.ts';
import { dumpedVocabulary } from './sequences.ts';
import type { Loaded } from './subject.ts';
import { checkFullTraining, checkPaddedLabels, PADDED_LABELS, type TrainingOutcome } from './training_full.ts';
import { checkLoraTraining } from './training_lora.ts';

/** Trains a checkpoint in each way that a reference folder has recorded. Its weights are afterwards what they were. */
export async function checkTraining(
  loaded: Loaded,
): Promise<{ training: TrainingRow[]; skipped: NotCompared[]; leftOut: NotCompared[] }> {
  const { manifest, model } = loaded;
  const own = model.config.text.vocabSize;
  const dumped = dumpedVocabulary(manifest) ?? own;
  if (dumped !== own) {
    const reason = `trained with another vocabulary than this checkpoint's ${own} rows`;
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
    outcomes.push(await check(loaded, folder));
  }
  if (manifest.files.has(PADDED_LABELS)) outcomes.push(await checkPaddedLabels(loaded));
  return {
    training: outcomes.flatMap(({ rows }) => rows),
    skipped: [],
    leftOut: outcomes.flatMap(({ leftOut }) => leftOut),
  };
}
