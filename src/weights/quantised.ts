import { Florence2Error } from '../errors.ts';
import { isRecord } from '../json.ts';
import { show } from '../show.ts';
import { isFloat } from './dtypes.ts';
import type { TensorFile } from './tensor_file.ts';

/** Names of the tensors that methods of quantisation add to those of the model. */
const SIGNS: [sign: RegExp, method: string][] = [
  [/\.(absmax|nested_absmax|quant_map|nested_quant_map|quant_state\.\S+|SCB)$/, 'bitsandbytes'],
  [/\.(qweight|qzeros|g_idx)$/, 'GPTQ or AWQ'],
  [/\.(weight_scale|weight_scale_inv|input_scale|weight_packed)$/, 'fp8 or compressed tensors'],
  [/\.scales$/, 'MLX'],
];

/** Dtypes of safetensors files that only quantised checkpoints use. */
const PACKED = /^(F8|F4|F6|I4|U4|U16|U32)/;

const ADVICE = 'which is not supported: load the original checkpoint, or dequantise it first';

/** Returns the end of a message about a dtype that cannot be read; empty unless it is one of quantised weights. */
export const packedHint = (dtype: unknown): string =>
  typeof dtype === 'string' && PACKED.test(dtype) ? `: the weights are quantised, ${ADVICE}` : '';

/**
 * @param config contents of config.json
 * @throws Florence2Error if it says that the weights are quantised
 */
export function refuseQuantisedConfig(config: Record<string, unknown>, file: string): void {
  const settings = config.quantization_config ?? config.quantization; // the second is MLX's
  if (settings === undefined || settings === null || settings === false) return;
  const method = isRecord(settings) ? settings.quant_method : settings;
  const name = config.quantization_config ? (method === undefined ? 'an unknown method' : show(method)) : 'MLX';
  throw new Florence2Error(`${file}: the weights are quantised (${name}), ${ADVICE}.`);
}

/** @throws Florence2Error for tensors of a method of quantisation, and for weights of whole numbers */
export function refuseQuantised({ path, tensors }: TensorFile): void {
  for (const [sign, method] of SIGNS) {
    const found = [...tensors.keys()].find(name => sign.test(name));
    if (found) throw new Florence2Error(`${path} has ${found}: the weights are quantised (${method}), ${ADVICE}.`);
  }
  for (const { name, dtype } of tensors.values()) {
    if (isFloat(dtype) || !/\.(weight|bias)$|projection$/.test(name)) continue;
    throw new Florence2Error(
      `${path}: ${name} is ${dtype}, without the scales that whole numbers need: the weights are quantised, ${ADVICE}.`,
    );
  }
}
