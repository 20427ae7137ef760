import { Fields, isRecord, parseJsonObject, show } from '../json.ts';
import { sharedName } from '../weights/names.ts';
import { type Lora, type LoraSettings, loraDefaults } from './lora.ts';

/** What adapter_config.json says. Which layers there are is told by the adapter's tensors. */
export interface AdapterConfig {
  settings: LoraSettings;
  /** Keyed by the ends of module names as the file spells them. */
  rankPattern: Record<string, number>;
  alphaPattern: Record<string, number>;
  modulesToSave: string[];
}

/** Fields that decide nothing once an adapter has been trained, or that only describe it. */
const descriptive = new Set([
  ...['auto_mapping', 'base_model_name_or_path', 'inference_mode', 'peft_version', 'revision', 'task_type'],
  ...['target_modules', 'exclude_modules', 'layers_to_transform', 'layers_pattern', 'ensure_weight_tying'],
  ...['fan_in_fan_out', 'megatron_config', 'megatron_core', 'qalora_group_size', 'runtime_config'],
]);

const understood = new Set([
  ...['peft_type', 'r', 'lora_alpha', 'lora_dropout', 'use_rslora', 'rank_pattern', 'alpha_pattern', 'bias'],
  ...['modules_to_save', 'init_lora_weights'],
]);

/** What a set field means that makes the adapter more than a product of low rank added to a layer. */
const unsupported: Record<string, string> = {
  use_dora: 'DoRA also scales the columns of the weights',
  use_qalora: 'QALoRA pools the inputs of the layers',
  use_bdlora: 'BD-LoRA has block-diagonal matrices',
  lora_bias: 'the adapter has biases of its own in lora_B',
  trainable_token_indices: 'single rows of the embeddings are trained',
  target_parameters: 'bare parameters are adapted, not layers',
  layer_replication: 'layers of the model are repeated',
  alora_invocation_tokens: 'the adapter is switched on by tokens',
  arrow_config: 'several adapters are routed by token',
};

/** Starts that leave the base weights as they are. The others take their first A and B out of them. */
const harmlessInits: unknown[] = [true, false, 'gaussian', 'orthogonal', 'eva'];

/**
 * Parses PEFT's adapter_config.json. Fields that change what an adapter computes and are not supported are refused;
 * unknown ones as well, unless they are null, false or empty.
 *
 * @param file what errors call it
 * @throws Florence2Error naming the file, the field and the reason
 */
export function parseAdapterConfig(text: string, file: string): AdapterConfig {
  const values = parseJsonObject(text, file);
  const fields = new Fields(values, file);
  fields.string('peft_type', ['LORA']);
  for (const [name, value] of Object.entries(values)) {
    if (descriptive.has(name) || understood.has(name) || isUnset(value)) continue;
    fields.fail(name, `is ${show(value)}, which is not supported: ${unsupported[name] ?? 'this field is not known'}`);
  }
  const init = fields.raw('init_lora_weights') ?? true;
  if (!harmlessInits.includes(init)) {
    fields.fail(
      'init_lora_weights',
      `is ${show(init)}, which changes the base weights: convert it to plain LoRA in PEFT`,
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
  return { settings, rankPattern, alphaPattern, modulesToSave: names(fields, 'modules_to_save') };
}

/**
 * The adapter_config.json of an adapter, as PEFT reads it. Layers and modules are listed by their full names, so that
 * no other layer of the model is meant.
 *
 * @param spell a canonical module name as the adapter's layout has it
 * @param autoMapping the class of the base model, for PEFT's `AutoPeftModel`
 */
export function formatAdapterConfig(
  lora: Lora,
  spell: (module: string) => string,
  about: { baseModel?: string; autoMapping: Record<string, string> | null },
): string {
  const { r, alpha, dropout, rsLora, init, bias } = lora.settings;
  const layers = [...lora.layers.values()];
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
 * The modules whose parameters the adapter has whole. Biases that `bias` stands for are not meant by it, nor is the table
 * of embeddings: PEFT would give the module of that name a table of its own and leave the decoder and the output layer
 * theirs, whereas a tensor in the file that nothing names goes into the one table that all share.
 */
function savedModules({ own, layers, settings }: Lora): string[] {
  const isBias = (name: string, module: string): boolean =>
    name.endsWith('.bias') && (settings.bias === 'all' || (settings.bias === 'lora_only' && layers.has(module)));
  const modules = [...own.keys()].map(name => ({ name, module: name.slice(0, name.lastIndexOf('.')) }));
  const saved = modules.filter(({ name, module }) => name !== sharedName && !isBias(name, module));
  return [...new Set(saved.map(({ module }) => module))];
}

const isUnset = (value: unknown): boolean =>
  value === null ||
  value === false ||
  (Array.isArray(value) && value.length === 0) ||
  (isRecord(value) && Object.keys(value).length === 0);

function numbersByPattern(fields: Fields, name: string, allowed: (value: number) => boolean): Record<string, number> {
  const value = fields.raw(name) ?? {};
  if (!isRecord(value)) fields.fail(name, `is ${show(value)}, expected numbers by module name`);
  for (const [pattern, number] of Object.entries(value as Record<string, unknown>)) {
    if (!isExpression(pattern)) fields.fail(name, `has ${show(pattern)}, which is no regular expression here`);
    if (!allowed(number as number)) fields.fail(name, `has ${show(number)} for ${pattern}`);
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
