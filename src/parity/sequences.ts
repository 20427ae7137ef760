import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import type { DecodingSession, GeneratedSequence } from '../generation/decoding.ts';
import { generateSequences } from '../generation/generate.ts';
import { resolveGeneration } from '../generation/options.ts';
import { CachedSession, UncachedSession } from '../generation/session.ts';
import type { Memory } from '../language/decoder.ts';
import { requireTensor } from '../weights/tensor_file.ts';
import { type GenerationCase, MICROSOFT_GREEDY } from './generation_cases.ts';
import type { Manifest } from './manifest.ts';
import { GENERATION_FILE, type NotCompared, type SequenceRow } from './report.ts';
import { type EncodedSubject, encodePrompts } from './subject.ts';
import { scoreTolerance } from './tolerance.ts';

/** Generates and compares every case that was recorded with this checkpoint's vocabulary. */
export async function checkCases(
  subject: EncodedSubject,
  cases: GenerationCase[],
): Promise<{ sequences: SequenceRow[]; skipped: NotCompared[] }> {
  const { manifest, model } = subject;
  const own = model.config.text.vocabSize;
  const dumped = dumpedVocabulary(manifest) ?? own;
  const sequences: SequenceRow[] = [];
  const others: string[] = [];
  for (const testCase of cases) {
    const rows = testCase.name === MICROSOFT_GREEDY ? (manifest.microsoftVocab ?? own) : dumped;
    if (rows === own) sequences.push(...(await checkCase(subject, testCase)));
    else others.push(testCase.name);
  }
  const reason = `recorded with another vocabulary than this checkpoint's ${own} rows`;
  const skipped = others.length > 0 ? [{ file: GENERATION_FILE, names: others, reason }] : [];
  return { sequences, skipped };
}

/** Returns the number of vocabulary rows in the dumped logits, or undefined if logits were not dumped. */
export function dumpedVocabulary({ files }: Manifest): number | undefined {
  return files
    .get('text.safetensors')
    ?.find(({ name }) => name === 'logits')
    ?.shape.at(-1);
}

async function checkCase(subject: EncodedSubject, testCase: GenerationCase): Promise<SequenceRow[]> {
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
  return Array.from({ length: count }, (_, i) => compareSequence(testCase, i, got[i], settings.eosTokenIds));
}

function compareSequence(
  { name, sequences, scores, scorePrecision }: GenerationCase,
  index: number,
  answer: GeneratedSequence | undefined,
  eosTokenIds: readonly number[],
): SequenceRow {
  const expected = untilEnd(sequences[index] ?? [], eosTokenIds);
  const got = answer?.ids ?? [];
  const length = Math.max(expected.length, got.length);
  const differs = Array.from({ length }, (_, i) => i).find(i => expected[i] !== got[i]);
  const row = { case: name, index, expected, got, ...(differs !== undefined && { firstDifference: differs }) };
  if (!scores) return { ...row, equal: differs === undefined };
  const scoreError = Math.abs((answer?.score ?? NaN) - scores[index]);
  const tolerance = scoreTolerance(scorePrecision?.[index] ?? 0);
  return { ...row, equal: differs === undefined && scoreError <= tolerance, scoreError, scoreTolerance: tolerance };
}

/** Returns the ids up to the first end token after the start token. The rest is padding. */
function untilEnd(ids: number[], eosTokenIds: readonly number[]): number[] {
  const end = ids.findIndex((id, i) => i > 0 && eosTokenIds.includes(id));
  return end < 0 ? ids : ids.slice(0, end + 1);
}

/** Encodes all prompts of the inputs, or one of them without its padding. */
async function encodeRows(subject: EncodedSubject, { masked, row, name }: GenerationCase): Promise<Memory> {
  if (row === undefined) return encodePrompts(subject, masked);
  const { model, hooks, inputs, features } = subject;
  const [B, T] = requireTensor(inputs.tensors, 'text_input_ids', inputs.path).shape;
  if (!(row >= 0 && row < B)) {
    throw new Florence2Error(`${GENERATION_FILE}: ${name} uses row ${row}, but the inputs have ${B} rows.`);
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
