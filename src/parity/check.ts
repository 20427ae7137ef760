import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { HookRegistry } from '../hooks/hooks.ts';
import { callback, checkOptions, instanceOf, oneOf, onOff } from '../options.ts';
import { BACKEND_NAMES, useBackend } from '../runtime/backend.ts';
import { openSafetensors } from '../weights/safetensors_file.ts';
import { type GenerationCase, readCases } from './generation_cases.ts';
import { type DumpedCheckpoint, findVariants, type Manifest, readManifest } from './manifest.ts';
import { INPUTS } from './passes.ts';
import {
  type CheckpointReport,
  GENERATION_FILE,
  INPUT_FILE,
  isTrainingFile,
  type NotCompared,
  type ParityOptions,
  type ParityReport,
  summarise,
  type VariantReport,
} from './report.ts';
import { checkRequest } from './request.ts';
import { checkCases } from './sequences.ts';
import { encodeImages, loadCheckpoint } from './subject.ts';
import { checkTensors, markFirst } from './tensors.ts';
import { checkTraining } from './training.ts';
import { isInitialAdapter } from './training_lora.ts';

const isInput = (file: string): boolean => file === INPUT_FILE || isInitialAdapter(file);

/**
 * Compares every checkpoint of a reference folder with PyTorch: activations, logits, losses, caches and generated
 * sequences, as listed in its manifest.json. With `training`, also losses, gradients and parameters of recorded
 * trainings, and adapters.
 *
 * @param path a reference folder, or a folder of reference folders
 * @returns all comparisons. `equal` is true if everything was compared and is within its tolerance
 * @throws Florence2Error if a folder, a file or a checkpoint cannot be read. Differences do not throw
 */
export async function checkParity(path: string, options: ParityOptions = {}): Promise<ParityReport> {
  checkOptions('checkParity', options, {
    backend: oneOf('auto', ...BACKEND_NAMES),
    ...{ training: onOff, hooks: instanceOf(HookRegistry, 'a HookRegistry'), onCheckpoint: callback },
  });
  const manifests = await Promise.all((await findVariants(path)).map(readManifest));
  if (options.training && !manifests.some(hasTraining)) {
    throw new Florence2Error(`${path} has no train/ or lora/: its manifest.json lists no training to compare.`);
  }
  const backend = await useBackend(options.backend ?? 'auto');
  const variants: VariantReport[] = [];
  for (const manifest of manifests) variants.push(await checkVariant(manifest, options));
  return summarise(backend, variants, options.training ?? false);
}

async function checkVariant(manifest: Manifest, options: ParityOptions): Promise<VariantReport> {
  const { folder, variant, files } = manifest;
  const cases = await readCases(manifest);
  const checkpoints: CheckpointReport[] = [];
  for (const checkpoint of manifest.checkpoints) {
    const report = await checkCheckpoint(manifest, checkpoint, cases, options);
    checkpoints.push(report);
    options.onCheckpoint?.(report);
  }
  const uncovered = options.training ? [] : [...files.keys()].filter(isTrainingFile);
  const notCompared = missed(manifest, cases, checkpoints, uncovered);
  return { variant, folder, checkpoints, notCompared, training: uncovered };
}

const hasTraining = ({ trainings, files }: Manifest): boolean =>
  trainings.length > 0 || [...files.keys()].some(isTrainingFile);

const NOT_TRAINED = { training: [], skipped: [], leftOut: [] };

/** Compares one checkpoint. For weights rounded to fewer bits than the others', the dump has only logits. */
async function checkCheckpoint(
  manifest: Manifest,
  checkpoint: DumpedCheckpoint,
  cases: GenerationCase[],
  { hooks = new HookRegistry(), training = false }: ParityOptions,
): Promise<CheckpointReport> {
  const { folder, variant, checkpoints, request } = manifest;
  const rounded = bits(checkpoint) < Math.max(...checkpoints.map(bits));
  const inputs = await openSafetensors(join(folder, INPUT_FILE));
  try {
    const inputRows = request ? await checkRequest(folder, checkpoint, request, inputs) : [];
    const { model, generation } = await loadCheckpoint(folder, checkpoint);
    let features: tf.Tensor3D | undefined;
    try {
      const subject = { manifest, model, generation, inputs, hooks };
      features = await encodeImages(subject);
      const encoded = { ...subject, features };
      const { tensors, skipped } = await checkTensors(encoded, rounded);
      const generated = await checkCases(encoded, rounded ? [] : cases);
      const trained = training && !rounded ? await checkTraining(subject) : NOT_TRAINED;
      return {
        variant,
        checkpoint: checkpoint.file,
        tensors: markFirst([...inputRows, ...tensors]),
        sequences: generated.sequences,
        training: trained.training,
        skipped: [...skipped, ...generated.skipped, ...trained.skipped],
        leftOut: trained.leftOut,
      };
    } finally {
      features?.dispose();
      model.dispose();
    }
  } finally {
    await inputs.close();
  }
}

/** `float16` → 16 */
const bits = ({ dtype }: DumpedCheckpoint): number => Number(/\d+$/.exec(dtype)?.[0] ?? 0);

/** Lists the parts of the dumps that no checkpoint was compared with, by file and reason. */
function missed(
  manifest: Manifest,
  cases: GenerationCase[],
  checkpoints: CheckpointReport[],
  uncovered: string[],
): NotCompared[] {
  const leftOut = checkpoints.flatMap(report => report.leftOut);
  const skipped = checkpoints.flatMap(report => report.skipped);
  const rows = checkpoints.flatMap(report => [
    ...report.tensors,
    ...report.training,
    ...report.sequences.map(row => ({ file: GENERATION_FILE, name: row.case })),
  ]);
  const compared = new Set(rows.map(({ file, name }) => `${file} ${name}`));
  const expected = [
    ...[...manifest.files].filter(([file]) => !isInput(file) && !uncovered.includes(file)),
    [GENERATION_FILE, cases] as const,
  ];
  const entries = expected.flatMap(([file, list]) => {
    const byReason = new Map<string, string[]>();
    for (const { name } of list) {
      const isIt = (entry: NotCompared): boolean => entry.file === file && entry.names.includes(name);
      if (INPUTS.has(name) || compared.has(`${file} ${name}`) || leftOut.some(isIt)) continue;
      const known = skipped.find(isIt);
      const reason = known?.reason ?? 'unknown to this tool';
      byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
    }
    return [...byReason].map(([reason, names]) => ({ file, names, reason }));
  });
  const idle = checkpoints.filter(({ tensors, training }) => tensors.length + training.length === 0);
  const reason = 'the dumps have nothing for this checkpoint';
  return [...entries, ...idle.map(({ checkpoint }) => ({ file: checkpoint, names: ['weights'], reason }))];
}
