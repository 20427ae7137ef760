import { Fields, isRecord, parseJsonObject } from '../json.ts';
import { show } from '../show.ts';
import { SHARED_NAME } from '../weights/names.ts';
import { type Lora, type LoraSettings, loraDefaults } from './lora.ts';

/** The contents of adapter_config.json. The adapted layers follow from the adapter's tensors instead. */
export interface AdapterConfig {
  settings: LoraSettings;
  /** Ranks by pattern, which matches the end of a module's name in the file. */
  rankPattern: Record<string, number>;
  /** Alphas by pattern, likewise. */
  alphaPattern: Record<string, number>;
  modulesToSave: string[];
  /** Whether the adapter also sets the lengths of the weights' columns. */
  dora: boolean;
}

/** Fields that only describe the adapter, or have no effect after training. */
const descriptive = new Set([
  ...['auto_mapping', 'base_model_name_or_path', 'inference_mode', 'peft_version', 'revision', 'task_type'],
  ...['target_modules', 'exclude_modules', 'layers_to_transform', 'layers_pattern', 'ensure_weight_tying'],
  ...['fan_in_fan_out', 'megatron_config', 'megatron_core', 'qalora_group_size', 'runtime_config'],
]);

const understood = new Set([
  ...['peft_type', 'r', 'lora_alpha', 'lora_dropout', 'use_rslora', 'rank_pattern', 'alpha_pattern', 'bias'],
  ...['modules_to_save', 'init_lora_weights', 'use_dora'],
]);

/** Fields that make the adapter more than a low-rank product added to a layer, and why. */
const unsupported: Record<string, string> = {
  use_qalora: 'QALoRA pools the inputs of the layers',
  use_bdlora: 'BD-LoRA has block-diagonal matrices',
  lora_bias: 'lora_B has biases',
  trainable_token_indices: 'single rows of the embeddings are trained',
  target_parameters: 'bare parameters are adapted, not layers',
  layer_replication: 'layers of the model are repeated',
  alora_invocation_tokens: 'the adapter is switched on by tokens',
  arrow_config: 'several adapters are routed by token',
};

/** Initialisations that leave the base weights unchanged. The others subtract the initial A and B from them. */
const harmlessInits: unknown[] = [true, false, 'gaussian', 'orthogonal', 'eva'];

/**
 * Parses PEFT's adapter_config.json. Unsupported fields that change what an adapter computes are refused, as are
 * unknown fields, unless they are null, false or empty.
 *
 * @param file the file's name in error messages
 * @throws Florence2Error naming the file, the field and the reason
 */
export function parseAdapterConfig(text: string, file: string): AdapterConfig {
  const values = parseJsonObject(text, file);
  const fields = new Fields(values, file);
  fields.string('peft_type', ['LORA']);
  for (const [name, value] of Object.entries(values)) {
    if (descriptive.has(name) || understood.has(name) || isUnset(value)) continue;
    fields.fail(name, `is ${show(value)}, which is not supported: ${unsupported[name] ?? 'the field is unknown'}`);
  }
  const init = fields.raw('init_lora_weights') ?? true;
  if (!harmlessInits.includes(init)) {
    fields.fail(
      'init_lora_weights',
      `is ${show(init)}, which changes the base weights: convert the adapter to plain LoRA in PEFT`,
    );
  }
  const settings: LoraSettings = {
    r: fields.integer('r', 1, loraDefaults.r),
    alpha: fields.number('lora_alpha', loraDefaults.alpha),
    dropout: fields.rate('lora_dropout', loraDefaults.dropout),
    rsLora: fields.boolean('use_rslora', loraDefaults.rsLora),
    init: init === 'gaussian' ? 'gaussian' : 'kaiming',
    bias: fields.string('bias', ['none', 'lora_only', 'all'], loraDefaults.bias),
  };
  const rankPattern = numbersByPattern(fields, 'rank_pattern', value => Number.isSafeInteger(value) && value >= 1);
  const alphaPattern = numbersByPattern(fields, 'alpha_pattern', Number.isFinite);
  const dora = fields.boolean('use_dora', false);
  return { settings, rankPattern, alphaPattern, modulesToSave: names(fields, 'modules_to_save'), dora };
}

/**
 * Returns the adapter_config.json of an adapter for PEFT. Layers and modules are listed by their full names, so that
 * PEFT matches no other layer.
 *
 * @param spell converts a canonical module name to the adapter's layout
 * @param about.baseModel Hub id or folder of the base model
 * @param about.autoMapping the class of the base model, for PEFT's `AutoPeftModel`
 */
export function formatAdapterConfig(
  lora: Lora,
  spell: (module: string) => string,
  about: { baseModel?: string; autoMapping: Record<string, string> | null },
): string {
  const { r, alpha, dropout, rsLora, init, bias } = lora.settings;
  const layers = [...lora.layers.values(), ...lora.embeddings.values()];
  const otherThan = (key: 'r' | 'alpha', common: number): Record<string, number> =>
    Object.fromEntries(layers.filter(layer => layer[key] !== common).map(layer => [spell(layer.module), layer[key]]));
  const saved = savedModules(lora).map(spell);
  const config = {
    peft_type: 'LORA',
    task_type: null,
    auto_mapping: about.autoMapping,
    base_model_name_or_path: about.baseModel ?? null,
    revision: null,
    inference_mode: true,
    r,
    lora_alpha: alpha,
    lora_dropout: dropout,
    use_rslora: rsLora,
    use_dora: lora.dora,
    rank_pattern: otherThan('r', r),
    alpha_pattern: otherThan('alpha', alpha),
    target_modules: layers.map(({ module }) => spell(module)),
    exclude_modules: null,
    layers_to_transform: null,
    layers_pattern: null,
    modules_to_save: saved.length > 0 ? saved : null,
    bias,
    fan_in_fan_out: false,
    init_lora_weights: init === 'gaussian' ? 'gaussian' : true,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/**
 * Returns the modules of the parameters that the adapter replaces, for `modules_to_save`. Biases that the setting
 * `bias` covers are left out. So is the table that all parts share: if it were listed, PEFT would give prompts a separate
 * table and leave the old one to the decoder and the output layer. An unlisted tensor in the file is loaded into the
 * shared table.
 */
function savedModules({ own, layers, settings, untied }: Lora): string[] {
  const isBias = (name: string, module: string): boolean =>
    name.endsWith('.bias') && (settings.bias === 'all' || (settings.bias === 'lora_only' && layers.has(module)));
  const modules = [...own.keys()].map(name => ({ name, module: name.slice(0, name.lastIndexOf('.')) }));
  const saved = modules.filter(
    ({ name, module }) => (name !== SHARED_NAME || untied.size > 0) && !isBias(name, module),
  );
  return [...new Set(saved.map(({ module }) => module))];
}

const isUnset = (value: unknown): boolean =>
  value === null ||
  value === false ||
  (Array.isArray(value) && value.length === 0) ||
  (isRecord(value) && Object.keys(value).length === 0);

function numbersByPattern(fields: Fields, name: string, allowed: (value: number) => boolean): Record<string, number> {
  const value = fields.raw(name) ?? {};
  if (!isRecord(value)) fields.fail(name, `is ${show(value)}, expected an object of numbers by module name`);
  for (const [pattern, number] of Object.entries(value as Record<string, unknown>)) {
    if (!isExpression(pattern))
      fields.fail(name, `has ${show(pattern)}, which is not a valid regular expression in JavaScript`);
    if (!allowed(number as number)) fields.fail(name, `has the invalid value ${show(number)} for ${pattern}`);
  }
  return value as Record<string, number>;
}

function names(fields: Fields, name: string): string[] {
  const value = fields.raw(name) ?? [];
  const valid = Array.isArray(value) && value.every(entry => typeof entry === 'string');
  return valid ? (value as string[]) : fields.fail(name, `is ${show(value)}, expected a list of names`);
}

function isExpression(pattern: string): boolean {
  try {
    RegExp(pattern);
    return true;
  } catch {
    return false;
  }
}
