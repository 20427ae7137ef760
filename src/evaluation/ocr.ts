import { polygonArea } from '../geometry/clip.ts';
import { quadIntersection, quadIou } from '../geometry/quads.ts';

/** A line of text. */
export interface TextLine {
  text: string;
  quad: ArrayLike<number>; // [x1, y1, … x4, y4]
}

/** Shares of lines, 0 to 1. */
export interface TextRates {
  precision: number;
  recall: number;
  /** The harmonic mean of both. */
  hmean: number;
}

/** The text of true lines that nobody can read: they do not count, nor what is found in them. */
const UNREADABLE = '###';
/** Marks of which one at each end of a true word may be missing. */
const MARKS = new Set('!?.:,*"()·[]/\'');
/** A found line matches a true one above this IoU, and does not count if more of it lies in an unreadable line. */
const LEAST_OVERLAP = 0.5;

/** The counts of one image. */
interface Counts {
  truth: number;
  found: number;
  boxes: number;
  words: number;
  exact: number;
}

/**
 * Judges read lines by the protocol of ICDAR 2015 (Karatzas et al. 2015), task 4: a found line is paired to the first free
 * true line with an IoU above 0.5, and is right if its words match in capitals; a mark at the ends may be missing.
 */
export class OcrMetric {
  private readonly counts: Counts = { truth: 0, found: 0, boxes: 0, words: 0, exact: 0 };

  /** Adds the true and the found lines of one image. */
  add(truth: readonly TextLine[], found: readonly TextLine[]): void {
    const unread = truth.filter(({ text }) => text === UNREADABLE);
    const known = truth.filter(({ text }) => text !== UNREADABLE);
    const counted = found.filter(
      ({ quad }) => !unread.some(one => quadIntersection(quad, one.quad) / polygonArea(quad) > LEAST_OVERLAP),
    );
    const taken = new Set<TextLine>();
    this.counts.truth += known.length;
    this.counts.found += counted.length;
    for (const line of known) {
      const match = counted.find(one => !taken.has(one) && quadIou(line.quad, one.quad) > LEAST_OVERLAP);
      if (!match) continue;
      taken.add(match);
      this.counts.boxes++;
      if (wordsMatch(line.text, match.text)) this.counts.words++;
      if (line.text === match.text) this.counts.exact++;
    }
  }

  /** Returns the rates of boxes alone (`detection`), with their words (`endToEnd`) and with equal texts (`exact`). */
  rates(): { detection: TextRates; endToEnd: TextRates; exact: TextRates } {
    const { boxes, words, exact } = this.counts;
    return { detection: this.ratesOf(boxes), endToEnd: this.ratesOf(words), exact: this.ratesOf(exact) };
  }

  private ratesOf(right: number): TextRates {
    const { truth, found } = this.counts;
    const [precision, recall] = [found, truth].map(count => (count > 0 ? right / count : 0));
    return { precision, recall, hmean: right > 0 ? (2 * precision * recall) / (precision + recall) : 0 };
  }
}

function wordsMatch(truth: string, found: string): boolean {
  const [known, read] = [truth.toUpperCase(), found.toUpperCase()];
  const starts = MARKS.has(known[0]) ? [0, 1] : [0];
  const ends = MARKS.has(known[known.length - 1]) ? [0, 1] : [0];
  return starts.some(start => ends.some(end => known.slice(start, known.length - end) === read));
}
