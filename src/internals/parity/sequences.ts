import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../../errors.ts';
import type { DecodingSession, GeneratedSequence } from '../../generation/decoding.ts';
import { generateSequences } from '../../generation/generate.ts';
import { type GenerationOptions, resolveGeneration } from '../../generation/options.ts';
import { CachedSession, UncachedSession } from '../../generation/session.ts';
import { isRecord, parseJsonObject, show } from '../../json_fields.ts';
import type { Memory } from '../../language/decoder.ts';
import { fileError } from '../../weights/file_source.ts';
import { requireTensor } from '../../weights/tensor_file.ts';
import { isIds, type Manifest } from './manifest.ts';
import { GENERATION_FILE, type NotCompared, type SequenceRow } from './report.ts';
import { encodePrompts, type Subject } from './subject.ts';
import { scoreTolerance } from './tolerance.ts';

/** A generation, and what PyTorch answered. */
export interface GenerationCase {
  readonly name: string;
  readonly options: Required<GenerationOptions>;
  /** False: every position of the prompt is attended, padding too. */
  readonly masked: boolean;
  /** One row of the inputs alone, without its padding. */
  readonly row?: number;
  readonly sequences: number[][];
  readonly scores?: number[];
  /** |fp32 - fp64| of each score, where recorded. */
  readonly scorePrecision?: number[];
}

/** In the manifest and not in generation.json: of Microsoft's own code, computed again at each step. */
const MICROSOFT_GREEDY = 'ms_greedy_nocache';

/** What the cases' arguments are called here. What is absent is transformers' own default, not the checkpoint's. */
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
const DEFAULTS: Required<GenerationOptions> = {
  numBeams: 1,
  maxNewTokens: 20,
  earlyStopping: false,
  lengthPenalty: 1,
  noRepeatNgramSize: 0,
  forcedBosTokenId: null,
  forcedEosTokenId: null,
  numReturnSequences: 1,
  useCache: true,
};

/**
 * The generation cases of a reference folder: generation.json, and the greedy ids of Microsoft's code in the manifest.
 *
 * @throws Florence2Error naming the file and the case that cannot be read
 */
export async function readCases({ folder, microsoftGreedy }: Manifest): Promise<GenerationCase[]> {
  const path = join(folder, GENERATION_FILE);
  const cases: GenerationCase[] = [];
  if (await stat(path).catch(() => undefined)) {
    const text = await readFile(path, 'utf8').catch(error => {
      throw fileError(path, error);
    });
    const json = parseJsonObject(text, path).cases;
    if (!isRecord(json)) throw new Florence2Error(`${path}: cases is ${show(json)}, expected cases by name.`);
    cases.push(...Object.entries(json).map(([name, entry]) => readCase(path, name, entry)));
  }
  if (microsoftGreedy) {
    const maxNewTokens = Math.max(...microsoftGreedy.map(ids => ids.length)) - 1;
    const options = { ...DEFAULTS, maxNewTokens, useCache: false };
    cases.push({ name: MICROSOFT_GREEDY, options, masked: false, sequences: microsoftGreedy });
  }
  return cases;
}

function readCase(path: string, name: string, entry: unknown): GenerationCase {
  const fail = (field: string, value: unknown, expected: string): never => {
    throw new Florence2Error(`${path}: ${name}.${field} is ${show(value)}, expected ${expected}.`);
  };
  if (!isRecord(entry) || !isRecord(entry.args)) return fail('args', entry, 'arguments of generate');
  const { args, encoder_mask: mask, row, sequences, sequences_scores: scores, sequences_scores_fp64: exact } = entry;
  const options = Object.fromEntries(
    Object.entries(args).map(([arg, value]) => {
      if (!Object.hasOwn(ARGUMENTS, arg)) fail(`args.${arg}`, value, 'nothing: this tool does not know it');
      return [ARGUMENTS[arg], value];
    }),
  );
  if (mask !== 'attention_mask' && mask !== 'all ones') fail('encoder_mask', mask, '"attention_mask" or "all ones"');
  if (!isIds(sequences)) return fail('sequences', sequences, 'lists of token ids');
  const numbers = (field: string, value: unknown): number[] | undefined =>
    value === undefined || (Array.isArray(value) && value.length === sequences.length && value.every(Number.isFinite))
      ? value
      : fail(field, value, 'a number for each sequence');
  if (row !== undefined && !Number.isSafeInteger(row)) fail('row', row, 'a row of the inputs');
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

/** Generates every case that is of the checkpoint's vocabulary: ids must be equal, scores within their tolerance. */
export async function checkCases(
  subject: Subject,
  cases: GenerationCase[],
): Promise<{ sequences: SequenceRow[]; skipped: NotCompared[] }> {
  const { manifest, model } = subject;
  const own = model.config.text.vocabSize;
  const dumpedLogits = manifest.files.get('text.safetensors')?.find(({ name }) => name === 'logits');
  const dumped = dumpedLogits?.shape.at(-1) ?? own;
  const sequences: SequenceRow[] = [];
  const others: string[] = [];
  for (const testCase of cases) {
    const rows = testCase.name === MICROSOFT_GREEDY ? (manifest.microsoftVocab ?? own) : dumped;
    if (rows === own) sequences.push(...(await checkCase(subject, testCase)));
    else others.push(testCase.name);
  }
  const reason = `generated with another vocabulary than this checkpoint's ${own} rows`;
  const skipped = others.length > 0 ? [{ file: GENERATION_FILE, names: others, reason }] : [];
  return { sequences, skipped };
}

async function checkCase(subject: Subject, testCase: GenerationCase): Promise<SequenceRow[]> {
  const { model, hooks, generation } = subject;
  const settings = resolveGeneration(testCase.options, generation, model.config.text);
  const memory = await encodeRows(subject, testCase);
  const Session = settings.useCache ? CachedSession : UncachedSession;
  let session: DecodingSession;
  try {
    session = new Session(model, memory, settings.numBeams, hooks);
  } finally {
    tf.dispose([memory.states, memory.mask ?? []]);
  }
  const answers = await generateSequences(session, settings).finally(() => session.dispose());
  const got = answers.flat();
  const count = Math.max(got.length, testCase.sequences.length);
  return Array.from({ length: count }, (_, i) => compareSequence(testCase, i, got[i], settings.eosTokenId));
}

function compareSequence(
  { name, sequences, scores, scorePrecision }: GenerationCase,
  index: number,
  answer: GeneratedSequence | undefined,
  eosTokenId: number,
): SequenceRow {
  const expected = untilEnd(sequences[index] ?? [], eosTokenId);
  const got = answer?.ids ?? [];
  const length = Math.max(expected.length, got.length);
  const differs = Array.from({ length }, (_, i) => i).find(i => expected[i] !== got[i]);
  const row = { case: name, index, expected, got, ...(differs !== undefined && { firstDifference: differs }) };
  if (!scores) return { ...row, equal: differs === undefined };
  const scoreError = Math.abs((answer?.score ?? NaN) - scores[index]);
  const tolerance = scoreTolerance(scorePrecision?.[index] ?? 0);
  return { ...row, equal: differs === undefined && scoreError <= tolerance, scoreError, scoreTolerance: tolerance };
}

/** Ids up to the first `</s>` after the start token: what follows is padding. */
function untilEnd(ids: number[], eosTokenId: number): number[] {
  const end = ids.indexOf(eosTokenId, 1);
  return end < 0 ? ids : ids.slice(0, end + 1);
}

/** The inputs' prompts, or one of them without its padding, through the encoder. */
async function encodeRows(subject: Subject, { masked, row, name }: GenerationCase): Promise<Memory> {
  if (row === undefined) return encodePrompts(subject, masked);
  const { model, hooks, inputs, features } = subject;
  const [B, T] = requireTensor(inputs.tensors, 'text_input_ids', inputs.path).shape;
  if (!(row >= 0 && row < B)) {
    throw new Florence2Error(`${GENERATION_FILE}: ${name} is about row ${row}, but the inputs have ${B}.`);
  }
  const seen = (await inputs.readInt32('text_attention_mask')).subarray(row * T, (row + 1) * T);
  const length = seen.reduce((n, m) => n + m, 0);
  const ids = (await inputs.readInt32('text_input_ids')).subarray(row * T, row * T + length);
  const image = tf.slice(features, [row, 0, 0], [1, -1, -1]); // [1, 1 + N, D]
  const prompt = tf.tensor2d(ids, [1, length], 'int32');
  try {
    return model.encodePrompt(image, prompt, null, hooks.root());
  } finally {
    tf.dispose([image, prompt]);
  }
}
