import type { Report } from '../report.ts';
import type { HeadChoice } from './weights.ts';

/** What the reader looks at. What is hovered over goes before what was clicked on, until the pointer leaves. */
interface SelectionState extends HeadChoice {
  token: number;
  region: number | null;
  /** A cell of the image's grid under the pointer. */
  cell: number | null;
}

/** The state of the page, shared by its parts; each part follows it. */
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

  /** The token that was clicked on. */
  get token(): number {
    return this.pinned.token;
  }

  /** The regions that the token in view, or the pointer, is about. */
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

  /** By how many tokens to go on. */
  step(by: number): void {
    const last = this.report.tokens.length - 1;
    this.pin({ token: Math.max(0, Math.min(last, this.pinned.token + by)), region: null });
  }

  notify(): void {
    for (const subscriber of this.subscribers) subscriber(this.state);
  }

  /** The address can be kept and sent: `#token=4&layer=2&head=7`. */
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
