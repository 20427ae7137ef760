import { beamSearch } from './beam.ts';
import { nextCandidates, nothingLeft } from './candidates.ts';
import { type DecodingSession, type GeneratedSequence, turn } from './decoding.ts';
import type { GenerationSettings } from './options.ts';
import { forcedToken, NgramBlock } from './processors.ts';

/**
 * Generates the answers of a batch: greedily with one beam, by beam search with more.
 *
 * @param session a fresh session of `numBeams` rows for each batch item; the caller disposes it, on errors too
 * @param signal stops the generation between two steps; its reason is thrown
 * @returns for each batch item `numReturnSequences` answers, best first
 */
export function generateSequences(
  session: DecodingSession,
  settings: GenerationSettings,
  signal?: AbortSignal,
): Promise<GeneratedSequence[][]> {
  return settings.numBeams === 1 ? greedySearch(session, settings, signal) : beamSearch(session, settings, signal);
}

/** One token of one sequence. */
export interface GreedyToken {
  /** The batch item that it belongs to. */
  readonly item: number;
  readonly token: number;
  /** As in `GeneratedSequence.logProbs`. */
  readonly logProb: number;
  /** True for an item's last token. */
  readonly ended: boolean;
  /** True for a last token that ends an answer only because `maxNewTokens` was reached. */
  readonly truncated: boolean;
}

/**
 * Greedy decoding, one step at a time: yields the next token of every batch item that has not ended. Items that end
 * leave the session, so a batch never computes padding.
 *
 * @param session its rows are the batch items; one beam each
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

/** Greedy decoding of a whole batch: one answer for each item. */
async function greedySearch(
  session: DecodingSession,
  settings: GenerationSettings,
  signal?: AbortSignal,
): Promise<GeneratedSequence[][]> {
  const answers = Array.from({ length: session.rows }, () => ({
    ids: [settings.decoderStartTokenId],
    logProbs: [] as number[],
    score: 0,
    truncated: false,
  }));
  for await (const step of greedySteps(session, settings, signal)) {
    for (const { item, token, logProb, truncated } of step) {
      const answer = answers[item];
      answer.ids.push(token);
      answer.logProbs.push(logProb);
      answer.score += logProb;
      answer.truncated = truncated;
    }
  }
  for (const answer of answers) answer.score /= answer.logProbs.length ** settings.lengthPenalty;
  return answers.map(answer => [answer]);
}
