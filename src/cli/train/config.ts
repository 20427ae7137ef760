import { readFile } from 'node:fs/promises';
import { closest, distance } from 'fastest-levenshtein';
import type { LoadOptions } from '../../checkpoint/load.ts';
import { UsageError } from '../../errors.ts';
import { fileError } from '../../files/errors.ts';
import { isRecord, parseJsonObject, show } from '../../json.ts';
import type { TrainerOptions } from '../../training/options.ts';
import { keyOf, settingsByPath } from './settings.ts';

/** What is set, by the keys of a config file. All values are of their setting's kind. */
export interface TrainConfig
  extends Omit<TrainerOptions, 'output' | 'train' | 'valid' | 'freeze' | 'onStep' | 'onValidation'> {
  data?: string[];
  valid?: string;
  task?: string[];
  output?: string;
  model?: string;
  revision?: string;
  backend?: LoadOptions['backend'];
  imageSize?: number;
  freeze?: string[];
}

/** Keys whose values are objects of settings. */
const GROUPS = ['lora', 'augment'] as const;

/** Keys that hold a list, though one text may stand in its place. */
const LISTS = ['data', 'task', 'freeze', 'newTokens'] as const;

/**
 * Reads a config file: JSON whose keys are the flags' names in camelCase; those of LoRA are in an object `lora` (true
 * for all defaults, false for none), those of augmentation in an object `augment`.
 *
 * @throws UsageError that names the file and a key that is unknown, with the nearest one, or has a wrong value
 */
export async function readConfig(file: string): Promise<TrainConfig> {
  const text = await readFile(file, 'utf8').catch(error => {
    throw fileError(file, error);
  });
  return checkConfig(parseJsonObject(text, file), file);
}

function checkConfig({ lora, augment, ...own }: Record<string, unknown>, file: string): TrainConfig {
  const config: Record<string, unknown> = { ...own };
  for (const [key, value] of Object.entries(own)) checkValue(key, value, file);
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
  const setting = settingsByPath.get(path);
  if (!setting) throw new UsageError(`${file}: there is no setting ${path}. ${suggestion(path)}`);
  if (!setting.kind.allows(value)) throw wrongValue(file, path, value, setting.kind.expected);
}

const wrongValue = (file: string, path: string, value: unknown, expected: string): UsageError =>
  new UsageError(`${file}: ${path} is ${show(value)}, expected ${expected}.`);

/** The nearest setting: in another place, or spelled in another way. */
function suggestion(path: string): string {
  const paths = [...GROUPS, ...settingsByPath.keys()];
  const key = path.split('.').at(-1)!;
  const moved = paths.find(known => known.split('.').at(-1) === key);
  const [flagged] = [...settingsByPath].find(([, setting]) => keyOf(setting) === key) ?? [];
  const meant = moved ?? flagged;
  const near = meant ?? closest(path, paths);
  const isNear = meant !== undefined || distance(path, near) <= Math.max(1, near.length / 3);
  return isNear ? `Did you mean ${near}?` : 'florence2 train --help lists them all.';
}

/** Settings in place of others; those of a group one by one. */
export function mergeConfig(base: TrainConfig, over: TrainConfig): TrainConfig {
  const merged = { ...base, ...over };
  for (const group of GROUPS) if (base[group] && over[group]) merged[group] = { ...base[group], ...over[group] };
  return merged;
}
