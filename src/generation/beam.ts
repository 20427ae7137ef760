import { type Candidate, nextCandidates, nothingLeft } from './candidates.ts';
import { type DecodingSession, type GeneratedSequence, turn } from './decoding.ts';
import type { GenerationSettings } from './options.ts';
import { forcedToken, Processors } from './processors.ts';

/** A sequence as a linked list from its newest token back. Beams share their common prefix. */
interface Path extends Candidate {
  readonly previous: Path | undefined;
}

/** An unfinished sequence. */
interface Beam {
  readonly path: Path | undefined; // undefined: only the decoder start token
  /** Sum of the scores of its tokens. */
  readonly sum: number;
  readonly processors: Processors;
}

/** A beam extended by one of its candidates. */
interface Extension {
  /** The beam's row within its item. */
  readonly row: number;
  readonly path: Path;
  readonly sum: number;
  /** The sum, when sampling with the noise of the newest token. */
  readonly priority: number;
}

/** A finished sequence. */
interface FinishedSequence {
  readonly path: Path;
  readonly score: number;
  readonly truncated: boolean;
}

/**
 * Beam search over a batch, as in transformers' `generate` (since 4.50). Each step takes the 2 × numBeams best
 * extensions by sum of log-probabilities, numBeams more for each end token after the first. Those among the first
 * numBeams that end become answers, ranked by sum / length ** lengthPenalty. The best numBeams that do not end are
 * continued. Each item stops separately, according to `earlyStopping`, and leaves the session.
 *
 * Beam sampling (`doSample`) is the same, but the extensions are drawn, without replacement.
 *
 * @param session `numBeams` rows for each batch item
 * @returns for each item its `numReturnSequences` best answers, best first; fewer if fewer answers are possible (with
 *   `maxNewTokens` 1 and a forced token there is only one)
 * @throws the signal's reason, between two steps
 */
export async function beamSearch(
  session: DecodingSession,
  settings: GenerationSettings,
  signal?: AbortSignal,
): Promise<GeneratedSequence[][]> {
  const { numBeams } = settings;
  const searches = Array.from({ length: session.rows / numBeams }, (_, item) => new ItemSearch(settings, item));
  let running = searches;
  for (let generated = 0; running.length > 0; generated++) {
    await turn(signal);
    const tokens = running.flatMap(search => search.tokens());
    const processors = running.flatMap(search => search.processors());
    const candidates = await nextCandidates(session, settings, generated, tokens, processors, extended(settings));
    const order = running.flatMap((search, item) => {
      const first = item * numBeams;
      return search.advance(candidates.slice(first, first + numBeams)).map(row => first + row);
    });
    running = running.filter(search => !search.done);
    const moves = order.length < session.rows || order.some((from, row) => from !== row);
    if (running.length > 0 && moves) session.reorder(Int32Array.from(order));
  }
  return searches.map(search => search.best());
}

/** Number of extensions that a step takes: at least `numBeams` of them do not end. */
const extended = ({ numBeams, eosTokenIds }: GenerationSettings): number => (1 + eosTokenIds.length) * numBeams;

/** The beam search of one batch item. */
class ItemSearch {
  /** Unfinished sequences, best first. At the start there is only one, the decoder start token. */
  private beams: Beam[];
  /** Finished sequences, best first, at most `numBeams`. */
  private answers: FinishedSequence[] = [];
  private generated = 0;
  done = false;

  constructor(
    private readonly settings: GenerationSettings,
    item: number,
  ) {
    this.beams = [{ path: undefined, sum: 0, processors: Processors.of(settings, item) }];
  }

  /** The newest token of each row. */
  tokens(): number[] {
    return this.rows().map(beam => this.beams[beam].path?.token ?? this.settings.decoderStartTokenId);
  }

  /** The processors of each row. */
  processors(): Processors[] {
    return this.rows().map(beam => this.beams[beam].processors);
  }

  /** Extends the beams by one token. Returns for each row the row that it continues; empty when the search is done. */
  advance(candidates: readonly Candidate[][]): number[] {
    const { numBeams, eosTokenIds, maxNewTokens, lengthPenalty } = this.settings;
    const forced = forcedToken(this.settings, this.generated) !== undefined;
    const last = ++this.generated === maxNewTokens;
    const isEnd = ({ path }: Extension) => eosTokenIds.includes(path.token);
    const ends = (extension: Extension) => last || isEnd(extension);

    const best = this.extensions(candidates).slice(0, extended(this.settings));
    if (best.length === 0 && this.answers.length === 0) throw nothingLeft(this.settings, this.generated - 1);

    const ended = best.slice(0, numBeams).filter(ends); // an end ranked below numBeams other extensions is discarded
    const found = ended.map(extension => ({
      path: extension.path,
      score: extension.sum / this.generated ** lengthPenalty,
      truncated: last && (forced || !isEnd(extension)),
    }));
    this.answers = [...this.answers, ...found].sort((a, b) => b.score - a.score).slice(0, numBeams);

    const going = best
      .filter(extension => !ends(extension))
      .sort((a, b) => b.sum - a.sum)
      .slice(0, numBeams);
    this.beams = this.extend(going);
    this.done = this.isDone();
    return this.done ? [] : this.rows().map(beam => going[beam].row);
  }

  /** Returns the `numReturnSequences` best answers. */
  best(): GeneratedSequence[] {
    return this.answers.slice(0, this.settings.numReturnSequences).map(({ path, score, truncated }) => {
      const ids: number[] = [];
      const logProbs: number[] = [];
      const nearbyProbs: number[] = [];
      for (let at: Path | undefined = path; at; at = at.previous) {
        ids.push(at.token);
        logProbs.push(at.logProb);
        nearbyProbs.push(at.nearbyProb);
      }
      return {
        ids: [...ids, this.settings.decoderStartTokenId].reverse(),
        logProbs: logProbs.reverse(),
        nearbyProbs: nearbyProbs.reverse(),
        score,
        truncated,
      };
    });
  }

  /** The beam of each row of the session. Rows beyond the last beam repeat the first; their candidates are ignored. */
  private rows(): number[] {
    return Array.from({ length: this.settings.numBeams }, (_, row) => (row < this.beams.length ? row : 0));
  }

  /** Returns each beam extended by each of its candidates, best first (ties: earlier beam, then lower token id). */
  private extensions(candidates: readonly Candidate[][]): Extension[] {
    return this.beams
      .flatMap(({ path, sum }, row) =>
        candidates[row].map(next => ({
          row,
          path: { ...next, previous: path },
          sum: sum + next.score,
          priority: sum + next.priority,
        })),
      )
      .sort((a, b) => b.priority - a.priority);
  }

  /** Turns extensions into beams. The last extension of a beam takes over its processors, the others take copies. */
  private extend(extensions: readonly Extension[]): Beam[] {
    return extensions.map(({ row, path, sum }, i) => {
      const { processors } = this.beams[row];
      const own = extensions.some((other, j) => j > i && other.row === row) ? processors.fork() : processors;
      own.append(path.token);
      return { path, sum, processors: own };
    });
  }

  private isDone(): boolean {
    const { numBeams, earlyStopping, lengthPenalty, maxNewTokens } = this.settings;
    const leader = this.beams[0];
    if (!leader) return true;
    if (this.answers.length < numBeams) return false;
    if (earlyStopping === true) return true;
    // With 'never' the leader has the best score that it could still reach: its present sum at the best length.
    const length = earlyStopping === 'never' && lengthPenalty > 0 ? maxNewTokens : this.generated;
    return leader.sum / length ** lengthPenalty <= this.answers.at(-1)!.score;
  }
}
