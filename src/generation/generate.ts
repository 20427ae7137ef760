import { beamSearch } from './beam.ts';
import { nextCandidates, nothingLeft } from './candidates.ts';
import { type DecodingSession, type GeneratedSequence, turn } from './decoding.ts';
import type { GenerationSettings } from './options.ts';
import { forcedToken, NgramBlock } from './processors.ts';

/**
 * Generates the answers of a batch: greedily with one beam, by beam search with several.
 *
 * @param session a new session with `numBeams` rows for each batch item; the caller disposes it, also after errors
 * @param signal stops the generation between two steps
 * @returns for each batch item `numReturnSequences` answers, best first
 * @throws the signal's reason
 */
export function generateSequences(
  session: DecodingSession,
  settings: GenerationSettings,
  signal?: AbortSignal,
): Promise<GeneratedSequence[][]> {
  return settings.numBeams === 1 ? greedySearch(session, settings, signal) : beamSearch(session, settings, signal);
}

/** One generated token of one sequence. */
export interface GreedyToken {
  /** Index of its batch item. */
  readonly item: number;
  readonly token: number;
  /** As in `GeneratedSequence.logProbs`. */
  readonly logProb: number;
  /** As in `GeneratedSequence.nearbyProbs`. */
  readonly nearbyProb: number;
  /** Whether it is the last token of its item. */
  readonly ended: boolean;
  /** Whether it is the last token only because `maxNewTokens` was reached. */
  readonly truncated: boolean;
}

/**
 * Greedy decoding: yields, step by step, the next token of each unfinished batch item. Finished items leave the
 * session, so padding is never computed.
 *
 * @param session one row for each batch item
 * @throws the signal's reason, between two steps
 */
export async function* greedySteps(
  session: DecodingSession,
  settings: GenerationSettings,
  signal?: AbortSignal,
): AsyncGenerator<GreedyToken[], void> {
  const { decoderStartTokenId, eosTokenId, maxNewTokens, noRepeatNgramSize } = settings;
  let running = Array.from({ length: session.rows }, (_, item) => ({
    item,
    token: decoderStartTokenId,
    ngrams: NgramBlock.of(noRepeatNgramSize, decoderStartTokenId),
  }));
  for (let generated = 0; running.length > 0; generated++) {
    await turn(signal);
    const tokens = running.map(row => row.token);
    const banned = running.map(row => row.ngrams.banned());
    const candidates = await nextCandidates(session, settings, generated, tokens, banned, 1);
    const last = generated + 1 === maxNewTokens;
    const forced = forcedToken(settings, generated) !== undefined;
    const step = running.map(({ item }, row) => {
      const best = candidates[row][0];
      if (!best) throw nothingLeft(settings, generated);
      const stops = best.token === eosTokenId;
      return { item, ...best, ended: stops || last, truncated: last && !(stops && !forced) };
    });
    running.forEach((row, i) => {
      row.token = step[i].token;
      row.ngrams.append(row.token);
    });
    yield step;
    const kept = [...running.keys()].filter(row => !step[row].ended);
    if (kept.length > 0 && kept.length < running.length) session.reorder(Int32Array.from(kept));
    running = kept.map(row => running[row]);
  }
}

/** Decodes a batch greedily. Returns one answer for each item. */
async function greedySearch(
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
  for await (const step of greedySteps(session, settings, signal)) {
    for (const { item, token, logProb, nearbyProb, truncated } of step) {
      const answer = answers[item];
      answer.ids.push(token);
      answer.logProbs.push(logProb);
      answer.nearbyProbs.push(nearbyProb);
      answer.score += logProb;
      answer.truncated = truncated;
    }
  }
  for (const answer of answers) answer.score /= answer.logProbs.length ** settings.lengthPenalty;
  return answers.map(answer => [answer]);
}
