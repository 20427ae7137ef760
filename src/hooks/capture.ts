import * as tf from '@tensorflow/tfjs';
import { closest } from 'fastest-levenshtein';
import { UsageError } from '../errors.ts';
import { type HookFilter, matcher, type StepFilter, stepMatcher } from './filter.ts';
import type { HookRegistry } from './hooks.ts';

/** What takes captured activations over. */
export interface ActivationSink {
  put(name: string, step: number | undefined, tensor: tf.Tensor): void;
}

/** A hook subscriber: hands copies of the activations at some points to a sink (a copy of a tensor shares its memory). */
export class Capture {
  private readonly wanted: WantedPoints;
  private readonly remove: () => void;

  /**
   * @param steps which steps of a generation; what lies outside of a generation is captured in any case
   * @param readOnly see `HookOptions`: the parity check sets it to false, to see the modules themselves run
   */
  constructor(
    hooks: HookRegistry,
    names: HookFilter,
    sink: ActivationSink,
    { steps, readOnly = true }: { steps?: StepFilter; readOnly?: boolean } = {},
  ) {
    this.wanted = new WantedPoints(names);
    const kept = stepMatcher(steps);
    this.remove = hooks.add(
      name => this.wanted.has(name),
      (activation, { name, step }) => {
        this.wanted.meet(name);
        if (step === undefined || kept(step)) sink.put(name, step, tf.clone(activation));
      },
      { readOnly },
    );
  }

  stop(): void {
    this.remove();
  }

  /** @throws UsageError for a name or pattern that no point of the passes so far has had */
  requireAll(): void {
    this.wanted.requireAll();
  }
}

/** The points that somebody asked for, and whether they were there. */
export class WantedPoints {
  private readonly filters: { filter: HookFilter; matches: (name: string) => boolean; met: boolean }[];
  /** Every name that was looked at, and whether it is wanted. */
  private readonly known = new Map<string, boolean>();

  constructor(names: HookFilter) {
    this.filters = leaves(names).map(filter => ({ filter, matches: matcher(filter), met: false }));
  }

  has(name: string): boolean {
    const known = this.known.get(name);
    if (known !== undefined) return known;
    const wanted = this.filters.some(({ matches }) => matches(name));
    this.known.set(name, wanted);
    return wanted;
  }

  /** Says that a pass has come to a point. */
  meet(name: string): void {
    for (const one of this.filters) if (!one.met) one.met = one.matches(name);
  }

  /** @throws UsageError for a name or pattern that no point has had */
  requireAll(): void {
    const missed = this.filters.find(({ met }) => !met);
    if (!missed) return;
    const { filter } = missed;
    const asked = typeof filter === 'function' ? 'passes the given test' : `is named ${filter}`;
    const names = [...this.known.keys()];
    const near = typeof filter === 'string' && names.length > 0 ? ` Did you mean ${nearest(filter, names)}?` : '';
    throw new UsageError(`No hook point of this run ${asked}.${near} hookPoints() lists them all.`);
  }
}

const leaves = (filter: HookFilter): HookFilter[] =>
  typeof filter === 'string' || filter instanceof RegExp || typeof filter === 'function'
    ? [filter]
    : filter.flatMap(leaves);

const nearest = (asked: string, names: readonly string[]): string =>
  names.find(name => name.includes(asked)) ?? closest(asked, names);
