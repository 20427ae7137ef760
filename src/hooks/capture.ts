import * as tf from '@tensorflow/tfjs';
import { type HookFilter, leaves, matcher, noPoint, type StepFilter, stepMatcher } from './filter.ts';
import type { HookFn, ScopedHook } from './hooks.ts';

/** Receives captured activations. */
export interface ActivationSink {
  /** Takes ownership of the tensor. */
  put(name: string, step: number | undefined, tensor: tf.Tensor): void;
}

/** A hook that passes clones of the activations at selected points to a sink. A clone shares its tensor's memory. */
export class Capture {
  /** The hook, for the calls whose activations are captured. */
  readonly hook: ScopedHook;
  private readonly wanted: WantedPoints;

  /**
   * @param steps generation steps to capture; activations outside of a generation are always captured
   * @param readOnly see `HookOptions`; the parity check passes false, so that the modules run instead of a graph
   */
  constructor(
    names: HookFilter,
    sink: ActivationSink,
    { steps, readOnly = true }: { steps?: StepFilter; readOnly?: boolean } = {},
  ) {
    this.wanted = new WantedPoints(names);
    const kept = stepMatcher(steps);
    const pass: HookFn = (activation, { name, step }) => {
      this.wanted.meet(name);
      if (step === undefined || kept(step)) sink.put(name, step, tf.clone(activation));
    };
    this.hook = [name => this.wanted.has(name), pass, { readOnly }];
  }

  /** @throws UsageError for a name or pattern that has matched no point so far */
  requireAll(): void {
    this.wanted.requireAll();
  }
}

/** The points that filters select, with a record of which filters have matched a point. */
export class WantedPoints {
  private readonly filters: { filter: HookFilter; matches: (name: string) => boolean; met: boolean }[];
  /** All names checked so far, and whether each is selected. */
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

  /** Records that a pass has reached a point. */
  meet(name: string): void {
    for (const one of this.filters) if (!one.met) one.met = one.matches(name);
  }

  /** @throws UsageError for a name or pattern that has matched no point */
  requireAll(): void {
    const missed = this.filters.find(({ met }) => !met);
    if (!missed) return;
    throw noPoint(missed.filter, [...this.known.keys()], 'this run');
  }
}
