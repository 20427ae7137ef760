import { download } from '../activations/activation.ts';
import { ActivationCache } from '../activations/cache.ts';
import type { Florence2 } from '../florence2.ts';
import type { ScopedHook } from '../hooks/hooks.ts';
import { resampleAblation, zeroAblation } from './ablation.ts';
import { type Replacement, replaceAt } from './intervention.ts';
import type { RowMetric } from './logit_metrics.ts';
import { captureForced, type Question } from './question.ts';
import type { Site } from './site.ts';
import { type Grid, measure, planGrid, rowValues, type SweepOptions, type SweepPlan, survey } from './sweep.ts';

export type { Grid, SweepOptions, SweepPlan } from './sweep.ts';

/** Two questions that differ in something, and how much of the difference is measured. */
export interface PatchSubject {
  /** Whose activations are put in. */
  clean: Question;
  /** What runs; of the same length as the clean one where activations of sequences are put in. */
  corrupted: Question;
  /** It is given the clean question with the logits of each pass, so that `answerLogProb` is of the clean answer. */
  metric: RowMetric;
}

/** The metric without an intervention, of both questions. */
export interface PatchBaselines {
  readonly clean: number;
  readonly corrupted: number;
}

export interface PatchGrid extends Grid, PatchBaselines {}

export interface AblationGrid extends Grid {
  /** The metric without an ablation. */
  readonly baseline: number;
}

/**
 * Activation patching: the corrupted question runs with the clean one's activations at a site; what then becomes of the
 * metric says how much of the difference goes through there. Also known as causal tracing or interchange intervention:
 * Meng et al. 2022, https://arxiv.org/abs/2202.05262.
 *
 * @throws UsageError for points, heads or positions that are not there, and where the questions differ in length there
 */
export async function patch(
  model: Florence2,
  { clean, corrupted, metric, ...site }: PatchSubject & Site,
): Promise<PatchBaselines & { value: number }> {
  const run = async (question: Question, hooks: ScopedHook[] = []): Promise<number> => {
    const row = await model.withHooks(hooks, () => rowValues(model, question, metric, clean, 1));
    return (await download(row)).values[0];
  };
  const cache = captureForced(model, clean, site.at);
  try {
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

/** `patch` at every place of a plan, many in one pass. */
export async function patchSweep(
  model: Florence2,
  { clean, corrupted, metric, ...plan }: PatchSubject & SweepPlan & SweepOptions,
): Promise<PatchGrid> {
  const cache = new ActivationCache();
  try {
    const { value } = await survey(model, clean, plan, metric, { cache });
    const before = await survey(model, corrupted, plan, metric, { answer: clean });
    const { sites, ...grid } = planGrid(model, corrupted, plan, before.shapes);
    const values = await measure(model, corrupted, sites, resampleAblation(cache), metric, plan, clean);
    return { ...grid, values, clean: value, corrupted: before.value };
  } finally {
    cache.dispose();
  }
}

/** The metric of one question with something ablated at each place of a plan, many in one pass. */
export async function ablationSweep(
  model: Florence2,
  {
    question,
    metric,
    by = zeroAblation(),
    ...plan
  }: { question: Question; metric: RowMetric; by?: Replacement } & SweepPlan & SweepOptions,
): Promise<AblationGrid> {
  const { shapes, value } = await survey(model, question, plan, metric);
  const { sites, ...grid } = planGrid(model, question, plan, shapes);
  return { ...grid, values: await measure(model, question, sites, by, metric, plan), baseline: value };
}
