import { join } from 'node:path';
import { type Activation, difference } from '../activations/activation.ts';
import { dumpPoint } from '../activations/dump_names.ts';
import { Florence2Error } from '../errors.ts';
import type { SafetensorsFile } from '../weights/safetensors.ts';
import { openSafetensors } from '../weights/safetensors_file.ts';
import { requireTensor } from '../weights/tensor_file.ts';
import type { DumpedTensor, Manifest } from './manifest.ts';
import { PASSES, roundedPass } from './passes.ts';
import type { NotCompared, TensorRow } from './report.ts';
import type { EncodedSubject } from './subject.ts';
import { tensorTolerance } from './tolerance.ts';

/**
 * Compares every tensor of the dump that the checkpoint computes.
 *
 * @param rounded the weights are those of another checkpoint, rounded to fewer bits: the dump has only their logits
 */
export async function checkTensors(
  subject: EncodedSubject,
  rounded: boolean,
): Promise<{ tensors: TensorRow[]; skipped: NotCompared[] }> {
  const { manifest } = subject;
  const rows: TensorRow[] = [];
  const skipped: NotCompared[] = [];
  for (const [file, tensors] of manifest.files) {
    const pass = PASSES[file];
    if (!pass || (rounded && file !== 'extra.safetensors')) continue;
    const dump = await openSafetensors(join(manifest.folder, file));
    try {
      const computed = rounded ? await roundedPass(subject) : await pass(subject, dump, tensors);
      for (const tensor of tensors) {
        const result = computed.get(tensor.name);
        if (!result) continue;
        if ('skipped' in result) skipped.push({ file, names: [tensor.name], reason: result.skipped });
        else rows.push(await compareTensor(dump, file, tensor, result, manifest));
      }
    } finally {
      await dump.close();
    }
  }
  return { tensors: rows, skipped };
}

/** Returns the rows with the first unequal one marked. */
export function markFirst(rows: TensorRow[]): TensorRow[] {
  const first = rows.find(({ equal }) => !equal);
  return rows.map(row => ({ ...row, firstDeparture: row === first }));
}

async function compareTensor(
  dump: SafetensorsFile,
  file: string,
  tensor: DumpedTensor,
  computed: Activation,
  manifest: Manifest,
): Promise<TensorRow> {
  const { name, shape } = tensor;
  const dumped = await readDumped(dump, tensor);
  const point = dumpPoint(name)?.point;
  const tolerance = tensorTolerance(tensor) ?? 0;
  const row = { file, name, ...(point && { point }), shape: computed.shape, tolerance, firstDeparture: false };
  const expected = expectedShape(name, shape, computed.shape, manifest);
  if (computed.shape.join() !== expected.join()) {
    const problem = `has shape [${computed.shape}], expected [${expected}]`;
    return { ...row, maxAbs: Infinity, relative: Infinity, equal: false, problem };
  }
  const want = firstColumns(dumped, shape.at(-1)!, expected.at(-1)!);
  const { maxAbs, relative } = difference(computed.values, want);
  const problem = maxAbs === Infinity ? { problem: 'is not finite' } : {};
  return { ...row, maxAbs, relative, equal: maxAbs <= tolerance, ...problem };
}

/** Returns the values of a dumped tensor. Throws a Florence2Error if its shape is not the manifest's. */
export async function readDumped(dump: SafetensorsFile, { name, shape }: DumpedTensor): Promise<Float32Array> {
  const stored = requireTensor(dump.tensors, name, dump.path);
  if (stored.shape.join() !== shape.join()) {
    throw new Florence2Error(`${dump.path}: ${name} has shape [${stored.shape}], but manifest.json says [${shape}].`);
  }
  return dump.readFloat32(name);
}

/** Returns the dump's shape. Logits over Microsoft's vocabulary may have fewer columns, the first of the dump's. */
function expectedShape(name: string, shape: number[], computed: number[], { microsoftVocab }: Manifest): number[] {
  const rows = computed.at(-1)!;
  const fewer = /(^|\.)logits/.test(name) && rows === microsoftVocab && rows < shape.at(-1)!;
  return fewer ? [...shape.slice(0, -1), rows] : shape;
}

/** values [..., all] -> [..., columns] */
function firstColumns(values: Float32Array, all: number, columns: number): Float32Array {
  return columns === all ? values : values.filter((_, i) => i % all < columns);
}
