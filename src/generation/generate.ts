import { beamSearch } from './beam.ts';
import type { DecodingSession, GeneratedSequence } from './decoding.ts';
import { greedySearch } from './greedy.ts';
import type { GenerationSettings } from './options.ts';

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
