import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import { useBackend } from '../../runtime/backend.ts';
import { openSafetensors } from '../../weights/safetensors.ts';
import { HookRegistry } from '../hooks.ts';
import type { ParityOptions } from '../parity.ts';
import { type GenerationCase, readCases } from './generation_cases.ts';
import { type DumpedCheckpoint, findVariants, type Manifest, readManifest } from './manifest.ts';
import { INPUTS } from './passes.ts';
import {
  type CheckpointReport,
  GENERATION_FILE,
  type NotCompared,
  type ParityReport,
  summarise,
  type VariantReport,
} from './report.ts';
import { checkCases } from './sequences.ts';
import { encodeImages, loadCheckpoint } from './subject.ts';
import { checkTensors } from './tensors.ts';

/** Ids, pixels, masks and labels: what the network is given. */
const INPUT_FILE = 'inputs.safetensors';

/** See `checkParity` in ../parity.ts. */
export async function checkFolders(path: string, options: ParityOptions): Promise<ParityReport> {
  const manifests = await Promise.all((await findVariants(path)).map(readManifest));
  const backend = await useBackend(options.backend ?? 'auto');
  const variants: VariantReport[] = [];
  for (const manifest of manifests) variants.push(await checkVariant(manifest, options));
  return summarise(backend, variants);
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
  const training = [...files.keys()].filter(file => /^(train|lora)\//.test(file));
  const notCompared = missed(manifest, cases, checkpoints, training);
  return { variant, folder, checkpoints, notCompared, training };
}

/** Runs everything on one checkpoint. Of weights rounded to fewer bits than the dump's only the logits are known. */
async function checkCheckpoint(
  manifest: Manifest,
  checkpoint: DumpedCheckpoint,
  cases: GenerationCase[],
  { hooks = new HookRegistry() }: ParityOptions,
): Promise<CheckpointReport> {
  const { folder, variant, checkpoints } = manifest;
  const rounded = bits(checkpoint) < Math.max(...checkpoints.map(bits));
  const inputs = await openSafetensors(join(folder, INPUT_FILE));
  try {
    const { model, generation } = await loadCheckpoint(folder, checkpoint);
    let features: tf.Tensor3D | undefined;
    try {
      const loaded = { manifest, model, generation, inputs, hooks };
      features = await encodeImages(loaded);
      const subject = { ...loaded, features };
      const { tensors, skipped } = await checkTensors(subject, rounded);
      const generated = await checkCases(subject, rounded ? [] : cases);
      return {
        variant,
        checkpoint: checkpoint.file,
        tensors,
        sequences: generated.sequences,
        skipped: [...skipped, ...generated.skipped],
      };
    } finally {
      features?.dispose();
      model.dispose();
    }
  } finally {
    await inputs.close();
  }
}

/** float16 -> 16 */
const bits = ({ dtype }: DumpedCheckpoint): number => Number(/\d+$/.exec(dtype)?.[0] ?? 0);

/** What inference should make of a folder's dumps, but no checkpoint was compared with. */
function missed(
  manifest: Manifest,
  cases: GenerationCase[],
  checkpoints: CheckpointReport[],
  training: string[],
): NotCompared[] {
  const skipped = checkpoints.flatMap(report => report.skipped);
  const rows = checkpoints.flatMap(report => [
    ...report.tensors,
    ...report.sequences.map(row => ({ file: GENERATION_FILE, name: row.case })),
  ]);
  const compared = new Set(rows.map(({ file, name }) => `${file} ${name}`));
  const expected = [
    ...[...manifest.files].filter(([file]) => file !== INPUT_FILE && !training.includes(file)),
    [GENERATION_FILE, cases] as const,
  ];
  const entries = expected.flatMap(([file, list]) => {
    const byReason = new Map<string, string[]>();
    for (const { name } of list) {
      if (INPUTS.has(name) || compared.has(`${file} ${name}`)) continue;
      const known = skipped.find(entry => entry.file === file && entry.names.includes(name));
      const reason = known?.reason ?? 'this tool does not know it';
      byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
    }
    return [...byReason].map(([reason, names]) => ({ file, names, reason }));
  });
  const idle = checkpoints.filter(({ tensors }) => tensors.length === 0);
  const reason = 'the dumps hold nothing that this checkpoint makes';
  return [...entries, ...idle.map(({ checkpoint }) => ({ file: checkpoint, names: ['weights'], reason }))];
}
