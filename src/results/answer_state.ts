import { LOCATION_BINS } from '../text/locations.ts';
import type { AnswerKind } from '../text/tasks.ts';

/** What the answers of structured tasks consist of. */
export type AnswerPart = 'words' | 'location' | '<sep>' | '<poly>' | '</poly>' | 'end';

/** The kinds of answers that have places. */
export type PlacesKind = Exclude<AnswerKind, 'text'>;

/** Number of coordinates of a place; a polygon has at least as many. */
const COORDINATES = { box: 4, quad: 8, polygon: 6 };

/**
 * A position in an answer: which parts may follow, so that the answer has the form of `ANSWER_FORMS` and nothing of it
 * is dropped when it is parsed. Immutable.
 */
export class AnswerState {
  private constructor(
    private readonly kind: PlacesKind,
    /** At the start, in a label, in a place, or after `</poly>`. */
    private readonly where: 'start' | 'label' | 'place' | 'closed',
    /** Whether the label has words. */
    readonly labelled: boolean,
    /** The bins of the place so far. */
    private readonly bins: readonly number[],
    /** Whether the place is within `<poly>`. */
    private readonly enclosed: boolean,
    /** What an answer with boxes or polygons has; undefined before the first. */
    private readonly places: 'boxes' | 'polygons' | undefined,
  ) {}

  static start(kind: PlacesKind): AnswerState {
    return new AnswerState(kind, 'start', false, [], false, undefined);
  }

  /** Whether words are being written. */
  get inLabel(): boolean {
    return this.where === 'label';
  }

  /** Whether a part may follow. */
  allows(part: AnswerPart): boolean {
    const { kind, where, labelled, enclosed, places } = this;
    const placed = where === 'place' && this.isPlaceComplete();
    const between = where === 'start' || where === 'closed' || (placed && !enclosed);
    switch (part) {
      case 'words':
        return this.hasLabels() && (where === 'label' || between);
      case 'location':
        if (where === 'start') return !this.hasLabels();
        if (where === 'label') return labelled && places !== 'polygons';
        return where === 'place' && (!placed || kind !== 'quads');
      case '<sep>':
        return placed && this.isPolygon();
      case '<poly>':
        if (where === 'label') return labelled && kind === 'boxes or polygons' && places !== 'boxes';
        return where === 'closed' || (where === 'start' && kind === 'polygons');
      case '</poly>':
        return placed && enclosed;
      case 'end':
        return between;
    }
  }

  /** Whether the next location may have this bin: boxes and quads have an area. */
  allowsBin(bin: number): boolean {
    if (this.isPolygon()) return true;
    const bins = this.isPlaceComplete() ? [] : this.bins;
    const i = bins.length;
    if (this.kind === 'quads') return i < 6 || bins.some((other, j) => j % 2 === i % 2 && other !== bin);
    return i < 2 ? bin < LOCATION_BINS - 1 : bin > bins[i - 2];
  }

  /**
   * Returns the position after a part.
   *
   * @param detail of a location its bin, of words whether the label has words now
   */
  after(part: 'location', detail: number): AnswerState;
  after(part: 'words', detail: boolean): AnswerState;
  after(part: AnswerPart): AnswerState;
  after(part: AnswerPart, detail?: number | boolean): AnswerState {
    const { kind, enclosed, bins, places } = this;
    if (part === 'words') return new AnswerState(kind, 'label', detail === true, [], false, places);
    if (part === '<sep>') return new AnswerState(kind, 'place', false, [], enclosed, places);
    if (part === '<poly>') return new AnswerState(kind, 'place', false, [], true, 'polygons');
    if (part === '</poly>') return new AnswerState(kind, 'closed', false, [], false, places);
    if (part === 'end') return this;
    const before = this.isPolygon() || !this.isPlaceComplete() ? bins : [];
    return new AnswerState(kind, 'place', false, [...before, detail as number], enclosed, places ?? 'boxes');
  }

  /** Returns the smallest number of tokens to the end of an answer, including the end token. */
  tokensToEnd(): number {
    const { where, kind, labelled, places, enclosed, bins } = this;
    if (where === 'label') {
      const place =
        kind === 'quads' ? COORDINATES.quad : places === 'polygons' ? COORDINATES.polygon + 2 : COORDINATES.box;
      return (labelled ? 0 : 1) + place + 1;
    }
    if (where !== 'place' || (this.isPlaceComplete() && !enclosed)) return 1;
    const missing = Math.max(this.leastCoordinates() - bins.length, this.isPolygon() ? bins.length % 2 : 0);
    return missing + (enclosed ? 1 : 0) + 1;
  }

  private hasLabels(): boolean {
    return this.kind !== 'proposals' && this.kind !== 'polygons';
  }

  private isPolygon(): boolean {
    return this.kind === 'polygons' || this.enclosed;
  }

  private leastCoordinates(): number {
    return COORDINATES[this.isPolygon() ? 'polygon' : this.kind === 'quads' ? 'quad' : 'box'];
  }

  private isPlaceComplete(): boolean {
    const n = this.bins.length;
    return this.isPolygon() ? n >= COORDINATES.polygon && n % 2 === 0 : n === this.leastCoordinates();
  }
}
