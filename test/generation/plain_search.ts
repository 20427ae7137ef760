import type { GenerationSettings } from '../../src/generation/options.ts';
import { processedScores, type ToyModel } from './toy.ts';

/** An answer. The searches in this file follow the definitions: whole sequences and vocabularies, not incremental. */
export interface PlainAnswer {
  ids: number[];
  score: number;
}

export function plainGreedy(model: ToyModel, item: number, settings: GenerationSettings): PlainAnswer {
  const ids = [settings.decoderStartTokenId];
  let sum = 0;
  do {
    const scores = processedScores(model, item, ids, settings);
    const best = scores.indexOf(Math.max(...scores));
    sum += scores[best];
    ids.push(best);
  } while (!settings.eosTokenIds.includes(ids.at(-1)!) && ids.length <= settings.maxNewTokens);
  return { ids, score: sum / (ids.length - 1) ** settings.lengthPenalty };
}

/** Returns all possible answers, best first. */
export function everyAnswer(model: ToyModel, item: number, settings: GenerationSettings): PlainAnswer[] {
  const answers: PlainAnswer[] = [];
  const visit = (ids: number[], sum: number): void => {
    processedScores(model, item, ids, settings).forEach((score, token) => {
      if (score === -Infinity) return;
      const next = [...ids, token];
      const length = next.length - 1;
      if (settings.eosTokenIds.includes(token) || length === settings.maxNewTokens) {
        answers.push({ ids: next, score: (sum + score) / length ** settings.lengthPenalty });
      } else visit(next, sum + score);
    });
  };
  visit([settings.decoderStartTokenId], 0);
  return answers.sort((a, b) => b.score - a.score);
}

/**
 * Beam search over a batch as described in the reference's documentation, in dense form: each item has numBeams slots
 * of running and of finished sequences, empty ones with score -1e9; all items continue until the last is done.
 */
export function plainBeams(model: ToyModel, batch: number, settings: GenerationSettings): PlainAnswer[][] {
  const { numBeams: n, maxNewTokens, lengthPenalty, earlyStopping, eosTokenIds } = settings;
  interface Slot extends PlainAnswer {
    real: boolean;
  }
  const empty = (): Slot => ({ ids: [settings.decoderStartTokenId], score: -1e9, real: false });
  const top = (slots: Slot[], k: number) => [...slots].sort((a, b) => b.score - a.score).slice(0, k);
  const items = Array.from({ length: batch }, (_, item) => ({
    item,
    running: Array.from({ length: n }, (_, i) => ({ ...empty(), score: i === 0 ? 0 : -1e9 })),
    finished: Array.from({ length: n }, empty),
    canImprove: true,
  }));
  for (let length = 1; length <= maxNewTokens; length++) {
    for (const state of items) {
      const extended = state.running.flatMap(({ ids, score }) =>
        processedScores(model, state.item, ids, settings).map((x, token) => ({
          ids: [...ids, token],
          score: score + x,
          real: true,
        })),
      );
      const best = top(extended, (1 + eosTokenIds.length) * n);
      const stops = ({ ids }: Slot) => length === maxNewTokens || eosTokenIds.includes(ids.at(-1)!);
      const full = state.finished.every(slot => slot.real);
      if (state.canImprove && !(full && earlyStopping === true)) {
        const found = best.slice(0, n).filter(stops);
        const scored = found.map(slot => ({ ...slot, score: slot.score / length ** lengthPenalty }));
        state.finished = top([...state.finished, ...scored], n);
      }
      state.running = top(
        best.map(slot => (stops(slot) ? { ...slot, score: slot.score - 1e9 } : slot)),
        n,
      );
      const horizon = earlyStopping === 'never' && lengthPenalty > 0 ? maxNewTokens : length;
      const bound = state.running[0].score / horizon ** lengthPenalty;
      const worst = Math.min(...state.finished.map(slot => slot.score));
      const allDone = state.finished.every(slot => slot.real);
      state.canImprove &&= !allDone || bound > worst;
    }
    if (!items.some(state => state.canImprove)) break;
    if (earlyStopping === true && items.every(state => state.finished.every(slot => slot.real))) break;
  }
  return items.map(state => state.finished.slice(0, settings.numReturnSequences));
}
