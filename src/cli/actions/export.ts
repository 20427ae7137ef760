import type { SaveOptions } from '../../checkpoint/write.ts';
import { UsageError } from '../../errors.ts';
import { exportOnnx } from '../../export/export_onnx.ts';
import { requireNewFolder } from '../../files/write.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { printNote } from '../print/terminal.ts';

/** Flags of `florence2 export` and `florence2 merge`. */
export interface ExportFlags extends ModelFlags, SaveOptions {}

/** The folders to write. */
interface Folders {
  safetensors?: string;
  onnx?: string;
}

/** Writes the model, with the adapter merged. The flags and the folders are checked before the model is loaded. */
export async function runExport({ safetensors, onnx }: Folders, flags: ExportFlags): Promise<void> {
  const { layout, dtype } = flags;
  if (safetensors === undefined && onnx === undefined) {
    throw new UsageError('What to write is required: give --safetensors or --onnx, with a new folder.');
  }
  if (safetensors === undefined && (layout ?? dtype) !== undefined) {
    throw new UsageError('--layout and --dtype are for checkpoints: give --safetensors too, or leave them out.');
  }
  for (const folder of [safetensors, onnx]) if (folder !== undefined) await requireNewFolder(folder);
  const model = await loadModel(flags);
  try {
    if (safetensors !== undefined) {
      await model.save(safetensors, { layout, dtype });
      printNote(`Wrote ${safetensors}.`);
    }
    if (onnx !== undefined) {
      await exportOnnx(model, onnx);
      printNote(`Wrote ${onnx}.`);
    }
  } finally {
    model.dispose();
  }
}
