import type { SaveOptions } from '../../checkpoint/write.ts';
import { UsageError } from '../../errors.ts';
import { exportOnnx } from '../../export/export_onnx.ts';
import type { OnnxDtype } from '../../export/onnx_weights.ts';
import { requireNewFolder } from '../../files/write.ts';
import { checkKind, oneOf } from '../../options.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { printNote } from '../print/terminal.ts';

/** Flags of `florence2 export` and `florence2 merge`. */
export interface ExportFlags extends ModelFlags, Pick<SaveOptions, 'layout'> {
  /** One or several types, with commas. */
  dtype?: string;
}

/** The folders to write. */
interface Folders {
  safetensors?: string;
  onnx?: string;
}

/** Writes the model, with the adapter merged. The flags and the folders are checked before the model is loaded. */
export async function runExport({ safetensors, onnx }: Folders, flags: ExportFlags): Promise<void> {
  const { layout, dtype = 'fp32' } = flags;
  if (safetensors === undefined && onnx === undefined) {
    throw new UsageError('What to write is required: give --safetensors or --onnx, with a new folder.');
  }
  if (safetensors === undefined && layout !== undefined) {
    throw new UsageError('--layout is for checkpoints: give --safetensors too, or leave it out.');
  }
  const dtypes = dtype.split(',').map(part => part.trim());
  if (onnx !== undefined) for (const one of dtypes) checkKind('--dtype for --onnx', one, oneOf('fp32', 'fp16', 'q8'));
  if (safetensors !== undefined) checkKind('--dtype of a checkpoint', dtype, oneOf('fp32', 'fp16', 'bf16'));
  for (const folder of [safetensors, onnx]) if (folder !== undefined) await requireNewFolder(folder);
  const model = await loadModel(flags);
  try {
    if (safetensors !== undefined) {
      await model.save(safetensors, { layout, dtype: dtype as SaveOptions['dtype'] });
      printNote(`Wrote ${safetensors}.`);
    }
    if (onnx !== undefined) {
      await exportOnnx(model, onnx, { dtypes: dtypes as OnnxDtype[] });
      printNote(`Wrote ${onnx}.`);
    }
  } finally {
    model.dispose();
  }
}
