import { download } from '../activations/activation.ts';
import { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import type { ScopedHook } from '../hooks/hooks.ts';
import { callback, checkOptions, type OptionTable, required } from '../options.ts';
import { resampleAblation, zeroAblation } from './ablation.ts';
import { captureForced } from './forced_pass.ts';
import { type Replacement, replaceAt } from './intervention.ts';
import type { RowMetric } from './logit_metrics.ts';
import { QUESTION, type Question } from './question.ts';
import { SITE, type Site } from './site.ts';
import { type Grid, measure, planGrid, rowValues, SWEEP, type SweepOptions, type SweepPlan, survey } from './sweep.ts';

export type { Grid, SweepOptions, SweepPlan } from './sweep.ts';

/** Two questions that differ in one respect, and the metric that measures the difference. */
export interface PatchSubject {
  /** The question that provides the activations. */
  clean: Question;
  /**
   * The question that runs. Its length must equal that of `clean` at points where sequence activations are replaced.
   */
  corrupted: Question;
  /** Receives the logits of each pass with the clean question, so `answerLogProb` measures the clean answer. */
  metric: RowMetric;
}

/** The kinds of those fields. */
export const SUBJECT: OptionTable<PatchSubject> = {
  clean: required(QUESTION),
  corrupted: required(QUESTION),
  metric: required(callback),
};

/** The metric of both questions without an intervention. */
export interface PatchBaselines {
  /** Metric of the clean question. */
  readonly clean: number;
  /** Metric of the corrupted question. */
  readonly corrupted: number;
}

/** Result of `patchSweep`: the metric after each patch, and the baselines. */
export interface PatchGrid extends Grid, PatchBaselines {}

/** Result of `ablationSweep`: the metric after each ablation, and the baseline. */
export interface AblationGrid extends Grid {
  /** The metric without ablation. */
  readonly baseline: number;
}

/** @throws UsageError that says which question is longer, if a point's activations differ in length */
export function checkLengths({ clean, corrupted }: PatchSubject, points: readonly string[]): void {
  for (const point of points) {
    for (const { what, of, hint } of LENGTHS.filter(({ at }) => at.test(point))) {
      const [a, b] = [clean, corrupted].map(question => of(question));
      if (a === b) continue;
      throw new UsageError(`${point}: the ${what} of clean has ${a}, that of corrupted ${b}. ${hint}`);
    }
  }
}

/** The lengths that activations have, and the points where they have them. */
const LENGTHS: { what: string; at: RegExp; of: (question: Question) => string; hint: string }[] = [
  {
    what: 'answer',
    at: /^language_model\.decoder\.(?!.*\.encoder_attn\.hook_[kv]$)|^hook_logits$/,
    of: ({ answerIds }) => `${answerIds.length} tokens`,
    hint: 'Ask corrupted with { answer: clean.answerIds }.',
  },
  {
    what: 'image and prompt',
    at: /^language_model\.encoder\.|\.encoder_attn\.hook_(k|v|attn_scores|pattern)$/,
    of: ({ positions }) => `${positions.length} positions`,
    hint: 'Use prompts with as many tokens.',
  },
];

/**
 * Runs activation patching at one site: the corrupted question runs with the clean question's activations there. The
 * closer the metric moves from the corrupted to the clean baseline, the more of the difference passes through the site.
 * Also known as causal tracing or interchange intervention: Meng et al. 2022, https://arxiv.org/abs/2202.05262.
 *
 * @returns the baselines, and the metric with the patch as `value`
 * @throws UsageError for points, heads or positions that do not exist, or if the questions differ in length at the site
 */
export async function patch(
  model: Florence2,
  options: PatchSubject & Site,
): Promise<PatchBaselines & { value: number }> {
  checkOptions('patch', options, { ...SUBJECT, ...SITE });
  const { clean, corrupted, metric, ...site } = options;
  const call = model.withAdapter();
  const run = async (question: Question, hooks: ScopedHook[] = []): Promise<number> => {
    const row = rowValues(call.withHooks(hooks), question, metric, clean, 1);
    return (await download(row)).values[0];
  };
  const cache = captureForced(call, clean, site.at);
  try {
    checkLengths(options, cache.names);
    const hook = replaceAt(model.config.vision, [{ ...site, at: cache.names }], resampleAblation(cache));
    return {
      clean: await run(clean),
      corrupted: await run(corrupted),
      value: await run(corrupted, [hook]),
    };
  } finally {
    cache.dispose();
  }
}

/**
 * Patches every site of a plan in turn, many sites per pass.
 *
 * @throws UsageError as `patch`, and for plans that do not fit the points
 */
export async function patchSweep(
  model: Florence2,
  options: PatchSubject & SweepPlan & SweepOptions,
): Promise<PatchGrid> {
  checkOptions('patchSweep', options, { ...SUBJECT, ...SWEEP });
  const { clean, corrupted, metric, ...plan } = options;
  const call = model.withAdapter();
  const cache = new ActivationCache();
  try {
    const { value } = await survey(call, clean, plan, metric, { cache });
    const before = await survey(call, corrupted, plan, metric, { answer: clean });
    checkLengths(options, cache.names);
    const { sites, ...grid } = planGrid(call, corrupted, plan, before.shapes);
    const values = await measure(call, corrupted, sites, resampleAblation(cache), metric, plan, clean);
    return { ...grid, values, clean: value, corrupted: before.value };
  } finally {
    cache.dispose();
  }
}

/**
 * Ablates every site of a plan in turn, many sites per pass, and returns the metric of the question for each.
 *
 * @param plan the question, the metric, the sites and, as `by`, the replacement values. Default: zeros
 * @throws UsageError for points, heads or positions that do not exist, and for plans that do not fit the points
 */
export async function ablationSweep(
  model: Florence2,
  options: { question: Question; metric: RowMetric; by?: Replacement } & SweepPlan & SweepOptions,
): Promise<AblationGrid> {
  const { metric: kind } = SUBJECT;
  checkOptions('ablationSweep', options, { question: required(QUESTION), metric: kind, by: callback, ...SWEEP });
  const { question, metric, by = zeroAblation(), ...plan } = options;
  const call = model.withAdapter();
  const { shapes, value } = await survey(call, question, plan, metric);
  const { sites, ...grid } = planGrid(call, question, plan, shapes);
  return { ...grid, values: await measure(call, question, sites, by, metric, plan), baseline: value };
}
