import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Florence2Error } from '../errors.ts';
import { readTextFile } from '../files/whole_file.ts';
import { GENERATION_DEFAULTS, type GenerationOptions } from '../generation/options.ts';
import { isRecord, parseJsonObject } from '../json.ts';
import { show } from '../show.ts';
import { isIds, type Manifest } from './manifest.ts';
import { GENERATION_FILE } from './report.ts';

/** The settings of a generation, and PyTorch's answer. */
export interface GenerationCase {
  readonly name: string;
  readonly options: GenerationOptions;
  /** If false, padding of the prompt is attended like any token. */
  readonly masked: boolean;
  /** Use only this row of the inputs, without its padding. */
  readonly row?: number;
  readonly sequences: number[][];
  readonly scores?: number[];
  /** |fp32 − fp64| of each score, if recorded. */
  readonly scorePrecision?: number[];
}

/** The case from the manifest instead of generation.json: greedy search by Microsoft's code, without a cache. */
export const MICROSOFT_GREEDY = 'ms_greedy_nocache';

/** Options of this package by recorded argument. Absent arguments have transformers' defaults, not the checkpoint's. */
const ARGUMENTS: Record<string, keyof GenerationOptions> = {
  num_beams: 'numBeams',
  max_new_tokens: 'maxNewTokens',
  early_stopping: 'earlyStopping',
  length_penalty: 'lengthPenalty',
  no_repeat_ngram_size: 'noRepeatNgramSize',
  forced_bos_token_id: 'forcedBosTokenId',
  forced_eos_token_id: 'forcedEosTokenId',
  num_return_sequences: 'numReturnSequences',
};
const DEFAULTS: GenerationOptions = {
  ...GENERATION_DEFAULTS,
  numBeams: 1,
  maxNewTokens: 20,
  earlyStopping: false,
  noRepeatNgramSize: 0,
  forcedBosTokenId: null,
  forcedEosTokenId: null,
};

/**
 * Reads the generation cases of a reference folder, from generation.json and from the manifest (see MICROSOFT_GREEDY).
 *
 * @throws Florence2Error naming the file and the case that is wrong
 */
export async function readCases({ folder, generations, microsoftGreedy }: Manifest): Promise<GenerationCase[]> {
  const path = join(folder, GENERATION_FILE);
  const cases = await readFileOfCases(path, generations.length > 0);
  const lost = generations.find(name => !cases.some(testCase => testCase.name === name));
  if (lost) throw new Florence2Error(`${path} lacks the case ${lost}, which manifest.json lists.`);
  if (!microsoftGreedy) return cases;
  const maxNewTokens = Math.max(...microsoftGreedy.map(ids => ids.length)) - 1;
  const options = { ...DEFAULTS, maxNewTokens, useCache: false };
  return [...cases, { name: MICROSOFT_GREEDY, options, masked: false, sequences: microsoftGreedy }];
}

async function readFileOfCases(path: string, required: boolean): Promise<GenerationCase[]> {
  if (!required && !(await stat(path).catch(() => undefined))) return [];
  const text = await readTextFile(path);
  const { cases } = parseJsonObject(text, path);
  if (!isRecord(cases)) throw new Florence2Error(`${path}: cases is ${show(cases)}, expected an object of cases.`);
  return Object.entries(cases).map(([name, entry]) => readCase(path, name, entry));
}

function readCase(path: string, name: string, entry: unknown): GenerationCase {
  const fail = (field: string, value: unknown, expected: string): never => {
    throw new Florence2Error(`${path}: ${name}.${field} is ${show(value)}, expected ${expected}.`);
  };
  if (!isRecord(entry) || !isRecord(entry.args)) return fail('args', entry, 'an object with args');
  const { args, encoder_mask: mask, row, sequences, sequences_scores: scores, sequences_scores_fp64: exact } = entry;
  const options = Object.fromEntries(
    Object.entries(args).map(([arg, value]) => {
      if (!Object.hasOwn(ARGUMENTS, arg)) fail(`args.${arg}`, value, 'no such argument');
      return [ARGUMENTS[arg], value];
    }),
  );
  if (mask !== 'attention_mask' && mask !== 'all ones') fail('encoder_mask', mask, '"attention_mask" or "all ones"');
  if (!isIds(sequences)) return fail('sequences', sequences, 'lists of token ids');
  const numbers = (field: string, value: unknown): number[] | undefined =>
    value === undefined || (Array.isArray(value) && value.length === sequences.length && value.every(Number.isFinite))
      ? value
      : fail(field, value, 'a number for each sequence');
  if (row !== undefined && !Number.isSafeInteger(row)) fail('row', row, 'the index of a row of the inputs');
  const recorded = numbers('sequences_scores', scores);
  const fp64 = numbers('sequences_scores_fp64', exact);
  return {
    name,
    options: { ...DEFAULTS, ...options },
    masked: mask === 'attention_mask',
    ...(row !== undefined && { row: row as number }),
    sequences,
    ...(recorded && { scores: recorded }),
    ...(recorded && fp64 && { scorePrecision: recorded.map((score, i) => Math.abs(score - fp64[i])) }),
  };
}
