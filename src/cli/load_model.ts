import { readAdapterConfig } from '../adapters/read.ts';
import { findAdapter } from '../checkpoint/find.ts';
import type { LoadOptions } from '../checkpoint/load.ts';
import { Florence2 } from '../florence2.ts';
import { openFolder } from '../platform/node.ts';
import { printNote } from './print/terminal.ts';
import { ProgressBars } from './progress.ts';

/** Flags that select the model and how it runs. */
export interface ModelFlags
  extends Pick<LoadOptions, 'backend' | 'revision' | 'subfolder' | 'processor' | 'imageSize' | 'precision'> {
  /** `demo`, a folder, or an id on the Hugging Face hub. */
  model: string;
  /** LoRA adapter in PEFT's format: a folder or hub id. */
  adapter?: string;
  /** Branch, tag or commit of the adapter on the hub. */
  adapterRevision?: string;
}

/**
 * Loads the model of a command and merges the adapter, if any. Progress bars and a line about the backend go to stderr.
 * The adapter's config is read first, so that a wrong path is reported before the model is loaded.
 *
 * @throws Florence2Error if the model or the adapter cannot be read, or the backend cannot run
 */
export async function loadModel(flags: ModelFlags): Promise<Florence2> {
  const { model: source, backend, revision, subfolder, processor, imageSize, precision } = flags;
  const bars = new ProgressBars();
  const adapter = flags.adapter === undefined ? undefined : await checkedAdapter(flags.adapter, flags.adapterRevision);
  const options = { backend, revision, subfolder, processor, imageSize, precision, onProgress: bars.onProgress };
  const model = await Florence2.load(source, options).finally(() => bars.stop());
  try {
    printNote(backendLine(model));
    if (adapter !== undefined) {
      await model.loadAdapter(adapter);
      model.adapters.mergeAndUnload(); // a merged adapter adds no work per image
    }
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** Returns the folder of an adapter, after reading its config. */
async function checkedAdapter(name: string, revision?: string): Promise<string> {
  const folder = await findAdapter(name, { revision });
  await readAdapterConfig(openFolder(folder));
  return folder;
}

/** Returns a line that names the backend, and says why faster ones were passed over. */
function backendLine({ backend: { name, description, passedOver } }: Florence2): string {
  const reasons = passedOver.map(other => `; not ${other.name}: ${other.reason}`).join('');
  return `Backend ${name} (${description})${reasons}`;
}
