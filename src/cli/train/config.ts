import type { LoraOptions } from '../../adapters/lora.ts';
import type { LoadOptions } from '../../checkpoint/load.ts';
import { UsageError } from '../../errors.ts';
import { readTextFile } from '../../files/whole_file.ts';
import { isRecord, parseJsonObject } from '../../json.ts';
import { nearestName } from '../../names.ts';
import { show } from '../../show.ts';
import type { TrainerOptions } from '../../training/options.ts';
import { bytes } from '../kinds.ts';
import { keyOf, SETTINGS_BY_PATH } from './settings.ts';

/** Settings by their keys in a config file. All values have been checked. */
export interface TrainConfig
  extends Omit<TrainerOptions, 'output' | 'train' | 'valid' | 'freeze' | 'lora' | 'onStep' | 'onValidation'> {
  data?: string[];
  valid?: string;
  imageRoot?: string;
  task?: string[];
  holdout?: number;
  oversample?: number;
  negatives?: number;
  output?: string;
  model?: string;
  revision?: string;
  subfolder?: string;
  processor?: string;
  backend?: LoadOptions['backend'];
  imageSize?: number;
  freeze?: string[];
  lora?: LoraOptions;
  /** Adapter to train further: a folder or hub id. */
  adapter?: string;
}

/** Keys whose value is an object of settings. */
const GROUPS = ['lora', 'augment'] as const;

/** Keys whose value is a list, or one text as a list of one. */
const LISTS = ['data', 'task', 'freeze', 'newTokens'] as const;

/**
 * Reads a config file: JSON whose keys are settings (SETTINGS in settings.ts). LoRA's are in an object `lora` (true
 * means all defaults, false no LoRA), those of augmentation in an object `augment`.
 *
 * @throws UsageError naming the file and the key, for an unknown key (with a suggestion) or a wrong value
 */
export async function readConfig(file: string): Promise<TrainConfig> {
  const text = await readTextFile(file);
  return checkConfig(parseJsonObject(text, file), file);
}

function checkConfig({ lora, augment, ...own }: Record<string, unknown>, file: string): TrainConfig {
  const config: Record<string, unknown> = { ...own };
  for (const [key, value] of Object.entries(own)) {
    const size =
      typeof value === 'string' && SETTINGS_BY_PATH.get(key)?.kind === bytes ? bytes.read(value) : Number.NaN;
    if (bytes.allows(size)) config[key] = size;
    else checkValue(key, value, file);
  }
  for (const name of LISTS) if (typeof config[name] === 'string') config[name] = [config[name]];
  for (const [group, value] of Object.entries({ lora, augment })) {
    if (value === undefined || (group === 'lora' && value === false)) continue;
    const members = group === 'lora' && value === true ? {} : value;
    if (!isRecord(members)) throw wrongValue(file, group, value, 'an object');
    for (const [key, member] of Object.entries(members)) checkValue(`${group}.${key}`, member, file);
    config[group] = members;
  }
  return config;
}

function checkValue(path: string, value: unknown, file: string): void {
  const setting = SETTINGS_BY_PATH.get(path);
  if (!setting) throw new UsageError(`${file}: unknown setting ${path}. ${suggestion(path)}`);
  if (!setting.kind.allows(value)) throw wrongValue(file, path, value, setting.kind.expected);
}

const wrongValue = (file: string, path: string, value: unknown, expected: string): UsageError =>
  new UsageError(`${file}: ${path} is ${show(value)}, expected ${expected}.`);

/** Suggests the setting of the same name in another group, of this flag, or with the most similar spelling. */
function suggestion(path: string): string {
  const paths = [...GROUPS, ...SETTINGS_BY_PATH.keys()];
  const key = path.split('.').at(-1)!;
  const moved = paths.find(known => known.split('.').at(-1) === key);
  const [flagged] = [...SETTINGS_BY_PATH].find(([, setting]) => keyOf(setting) === key) ?? [];
  const near = moved ?? flagged ?? nearestName(path, paths);
  return near ? `Did you mean ${near}?` : 'florence2 train --help lists all settings.';
}

/** Returns `base` overridden by `over`. The settings in a group are overridden one by one. */
export function mergeConfig(base: TrainConfig, over: TrainConfig): TrainConfig {
  const merged = { ...base, ...over };
  for (const group of GROUPS) if (base[group] && over[group]) merged[group] = { ...base[group], ...over[group] };
  return merged;
}
