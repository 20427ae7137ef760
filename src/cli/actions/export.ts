import type { SaveOptions } from '../../checkpoint/write.ts';
import { requireNewFolder } from '../../files/write.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { printNote } from '../print/terminal.ts';

/** Flags of `florence2 export` and `florence2 merge`. */
export interface ExportFlags extends ModelFlags, SaveOptions {}

/** Writes the model, with the adapter merged, as a checkpoint. The folder is checked before the model is loaded. */
export async function runExport(out: string, flags: ExportFlags): Promise<void> {
  await requireNewFolder(out);
  const { layout, dtype } = flags;
  const model = await loadModel(flags);
  try {
    await model.save(out, { layout, dtype });
    printNote(`Wrote ${out}.`);
  } finally {
    model.dispose();
  }
}
