import { UsageError } from '../errors.ts';
import type { FileContent } from '../files/folder.ts';
import type { Parameter } from '../nn/params.ts';
import { openFolder } from '../platform/node.ts';
import { CALIBRATION_FILE, formatCalibration } from '../results/calibration.ts';
import { checkpointValues } from '../weights/canonical.ts';
import { toMicrosoft, toNative } from '../weights/names.ts';
import { safetensorsContent, type TensorToWrite } from '../weights/safetensors.ts';
import { formatAdapterConfig } from './config.ts';
import type { Lora } from './lora.ts';

/** Options for saving an adapter. */
export interface SaveAdapterOptions {
  /** Module names: transformers' Florence-2 (`native`, default), or Microsoft's code with `trust_remote_code`. */
  layout?: 'native' | 'microsoft';
  /** Hub id or folder of the base checkpoint, which PEFT's `AutoPeftModel` loads. Default: not recorded. */
  baseModel?: string;
}

/** The class of the base model, for PEFT. Not needed for Microsoft's layout, whose config.json names the class. */
const nativeClass = {
  base_model_class: 'Florence2ForConditionalGeneration',
  parent_library: 'transformers.models.florence2.modeling_florence2',
};

/**
 * Writes an adapter in PEFT's format: adapter_config.json and adapter_model.safetensors in fp32, and calibration.json
 * if it has a calibration. A new folder appears only when it is complete. In an existing folder, each of the files is
 * replaced as a whole.
 *
 * @throws UsageError if the layout has no name for a layer; Florence2Error if the folder cannot be written
 */
export async function writeAdapter(lora: Lora, folder: string, options: SaveAdapterOptions = {}): Promise<void> {
  const { layout = 'native', baseModel } = options;
  const spell = layout === 'native' ? toNative : microsoftName;
  const autoMapping = layout === 'native' ? nativeClass : null;
  const config = formatAdapterConfig(lora, spell, { baseModel, autoMapping });
  const tensors = lora.parameters.map(parameter => toWrite(parameter, lora, spell));
  const file = openFolder(folder);
  const weights = 'adapter_model.safetensors';
  await file.writeAll(
    new Map<string, FileContent>([
      [weights, safetensorsContent(file.pathOf(weights), tensors)],
      ['adapter_config.json', new TextEncoder().encode(config)],
      ...(lora.calibration ? [[CALIBRATION_FILE, formatCalibration(lora.calibration)] as const] : []),
    ]),
  );
}

function toWrite(parameter: Parameter, { layers }: Lora, spell: (name: string) => string): TensorToWrite {
  const { name, shape } = parameter;
  const end = name.lastIndexOf('.');
  const module = name.slice(0, end);
  // PEFT wraps adapted layers, so their own tensors are one level deeper.
  const isFactor = name.includes('.lora_');
  const spelled = layers.has(module) && !isFactor ? `${spell(module)}.base_layer${name.slice(end)}` : spell(name);
  return { name: `base_model.model.${spelled}`, shape, data: () => checkpointValues(parameter) };
}

function microsoftName(name: string): string {
  if (/\.image_projection(\.|$)/.test(name)) {
    throw new UsageError(
      "In Microsoft's layout the image projection is a bare parameter, which PEFT cannot adapt: remove it from the targets, or save with layout native.",
    );
  }
  return toMicrosoft(name);
}
