import { ImageFeatures } from '../image/features.ts';
import { anyText, checkKind, instanceOf, listOf } from '../options.ts';
import { beamSearch } from './beam.ts';
import { type Call, type SessionOptions, startSession } from './call.ts';
import { nextCandidates, nothingLeft } from './candidates.ts';
import { type DecodingSession, type GeneratedSequence, turn } from './decoding.ts';
import { type GenerationSettings, rowsPerItem } from './options.ts';
import { forcedToken, Processors } from './processors.ts';

/**
 * Generates the answers of a batch: with one beam token by token, the best or drawn ones, with several by beam search.
 *
 * @param session a new session with `rowsPerItem` rows for each batch item; the caller disposes it, also after errors
 * @param signal stops the generation between two steps
 * @returns for each batch item `numReturnSequences` answers, best first; samples in the order of their draws
 * @throws the signal's reason
 */
export function generateSequences(
  session: DecodingSession,
  settings: GenerationSettings,
  signal?: AbortSignal,
): Promise<GeneratedSequence[][]> {
  return settings.numBeams === 1 ? singleSequences(session, settings, signal) : beamSearch(session, settings, signal);
}

const FEATURES = listOf(instanceOf(ImageFeatures, 'image features'), 'image features');
const PROMPTS = listOf(anyText, 'texts');

/**
 * Encodes prompts and generates their answers.
 *
 * @param features one image for each prompt
 * @returns for each prompt `numReturnSequences` answers, best first
 * @throws UsageError for wrong options or arguments; the signal's reason
 */
export async function generateAnswers(
  call: Call,
  features: readonly ImageFeatures[],
  prompts: string[],
  options: SessionOptions,
): Promise<GeneratedSequence[][]> {
  checkKind('features', features, FEATURES);
  checkKind('prompts', prompts, PROMPTS);
  if (features.length + prompts.length === 0) return [];
  const { session, settings, signal } = startSession(call, features, prompts, options);
  try {
    return await generateSequences(session, settings, signal);
  } finally {
    session.dispose();
  }
}

/** One generated token of one sequence. */
export interface GeneratedToken {
  /** Index of its sequence: that of the batch item × `numReturnSequences` + that of the sample. */
  readonly sequence: number;
  readonly token: number;
  /** As in `GeneratedSequence.logProbs`. */
  readonly logProb: number;
  /** As in `GeneratedSequence.nearbyProbs`. */
  readonly nearbyProb: number;
  /** Whether it is the last token of its sequence. */
  readonly ended: boolean;
  /** Whether it is the last token only because `maxNewTokens` was reached. */
  readonly truncated: boolean;
}

/**
 * Decoding without beams: yields, step by step, the next token of each unfinished sequence, the best one or, with
 * `doSample`, a drawn one. Finished items leave the session, so padding is never computed.
 *
 * @param session `rowsPerItem` rows for each batch item, one for each sample
 * @throws the signal's reason, between two steps
 */
export async function* tokenSteps(
  session: DecodingSession,
  settings: GenerationSettings,
  signal?: AbortSignal,
): AsyncGenerator<GeneratedToken[], void> {
  const { decoderStartTokenId, eosTokenIds, maxNewTokens } = settings;
  const perItem = rowsPerItem(settings);
  let running = Array.from({ length: session.rows }, (_, sequence) => ({
    sequence,
    token: decoderStartTokenId,
    ended: false,
    processors: Processors.of(settings, Math.floor(sequence / perItem)),
  }));
  for (let generated = 0; running.length > 0; generated++) {
    await turn(signal);
    const tokens = running.map(row => row.token);
    const processors = running.map(row => row.processors);
    const candidates = await nextCandidates(session, settings, generated, tokens, processors, 1);
    const last = generated + 1 === maxNewTokens;
    const forced = forcedToken(settings, generated) !== undefined;
    const step: GeneratedToken[] = [];
    for (const [i, row] of running.entries()) {
      if (row.ended) continue; // waits for the other samples of its item
      const best = candidates[i][0];
      if (!best) throw nothingLeft(settings, generated);
      const { token, logProb, nearbyProb } = best;
      const stops = eosTokenIds.includes(token);
      row.token = token;
      row.ended = stops || last;
      row.processors.append(token);
      step.push({
        ...{ sequence: row.sequence, token, logProb, nearbyProb },
        ...{ ended: row.ended, truncated: last && !(stops && !forced) },
      });
    }
    yield step;
    const itemOf = (row: number) => running.slice(row - (row % perItem), row - (row % perItem) + perItem);
    const kept = [...running.keys()].filter(row => itemOf(row).some(({ ended }) => !ended));
    if (kept.length > 0 && kept.length < running.length) session.reorder(Int32Array.from(kept));
    running = kept.map(row => running[row]);
  }
}

/** Decodes a batch without beams. */
async function singleSequences(
  session: DecodingSession,
  settings: GenerationSettings,
  signal?: AbortSignal,
): Promise<GeneratedSequence[][]> {
  const answers = Array.from({ length: session.rows }, () => ({
    ids: [settings.decoderStartTokenId],
    logProbs: [] as number[],
    nearbyProbs: [] as number[],
    score: 0,
    truncated: false,
  }));
  for await (const step of tokenSteps(session, settings, signal)) {
    for (const { sequence, token, logProb, nearbyProb, truncated } of step) {
      const answer = answers[sequence];
      answer.ids.push(token);
      answer.logProbs.push(logProb);
      answer.nearbyProbs.push(nearbyProb);
      answer.score += logProb;
      answer.truncated = truncated;
    }
  }
  for (const answer of answers) answer.score /= answer.logProbs.length ** settings.lengthPenalty;
  const perItem = rowsPerItem(settings);
  return Array.from({ length: answers.length / perItem }, (_, item) =>
    answers.slice(item * perItem, (item + 1) * perItem),
  );
}
