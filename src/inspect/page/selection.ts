import type { Report } from '../report.ts';
import type { HeadChoice } from './weights.ts';

/** What the page shows. Hovering overrides what was clicked until the pointer leaves. */
interface SelectionState extends HeadChoice {
  token: number;
  region: number | null;
  /** The cell of the image's map under the pointer. */
  cell: number | null;
}

/** The state of the page. Its parts subscribe to changes. */
export class Selection {
  private pinned: SelectionState;
  private hovered: Partial<SelectionState> = {};
  private readonly subscribers: ((state: SelectionState) => void)[] = [];

  constructor(private readonly report: Report) {
    const first = report.tokens.findIndex(({ kind }) => kind !== 'special');
    this.pinned = { token: Math.max(0, first), layer: null, head: null, region: null, cell: null };
    this.readAddress();
  }

  get state(): SelectionState {
    return { ...this.pinned, ...this.hovered };
  }

  /** The token that was clicked. */
  get token(): number {
    return this.pinned.token;
  }

  /** The region under the pointer, or the regions that the current token belongs to. */
  get regions(): number[] {
    const { token, region } = this.state;
    if (region !== null) return [region];
    const said = this.report.regions.flatMap(({ locationTokens }, i) => (locationTokens.includes(token) ? [i] : []));
    if (said.length > 0) return said;
    return this.report.regions.flatMap(({ labelTokens }, i) => (labelTokens.includes(token) ? [i] : []));
  }

  subscribe(subscriber: (state: SelectionState) => void): void {
    this.subscribers.push(subscriber);
  }

  pin(change: Partial<SelectionState>): void {
    Object.assign(this.pinned, change);
    this.hovered = {};
    this.writeAddress();
    this.notify();
  }

  hover(change: Partial<SelectionState>): void {
    this.hovered = change;
    this.notify();
  }

  unhover(): void {
    this.hover({});
  }

  /** Selects the token `by` positions further. */
  step(by: number): void {
    const last = this.report.tokens.length - 1;
    this.pin({ token: Math.max(0, Math.min(last, this.pinned.token + by)), region: null });
  }

  notify(): void {
    for (const subscriber of this.subscribers) subscriber(this.state);
  }

  /** Reads the selection from the URL, so that a link can point to it: `#token=4&layer=2&head=7`. */
  private readAddress(): void {
    const fields = new URLSearchParams(location.hash.slice(1));
    const { tokens, attention } = this.report;
    const read = (name: string, count: number): number | null => {
      const value = Number(fields.get(name) ?? Number.NaN);
      return Number.isInteger(value) && value >= 0 && value < count ? value : null;
    };
    this.pinned.token = read('token', tokens.length) ?? this.pinned.token;
    this.pinned.layer = read('layer', attention.layers);
    if (this.pinned.layer !== null) this.pinned.head = read('head', attention.heads);
  }

  private writeAddress(): void {
    const { token, layer, head } = this.pinned;
    const fields = [`token=${token}`, layer !== null && `layer=${layer}`, head !== null && `head=${head}`];
    history.replaceState(null, '', `#${fields.filter(Boolean).join('&')}`);
  }
}
