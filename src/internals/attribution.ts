import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import { ActivationCache } from '../activations/cache.ts';
import type { Florence2 } from '../florence2.ts';
import { checkOptions } from '../options.ts';
import { gradientsAt } from './gradients_at.ts';
import { checkLengths, type PatchGrid, type PatchSubject, SUBJECT } from './patching.ts';
import { siteMask } from './site.ts';
import { planGrid, SWEEP, type SweepPlan, survey } from './sweep.ts';

/**
 * Estimates `patchSweep` to first order, with two forward passes and one backward pass for all sites together: the
 * metric of the corrupted question plus Σ (clean − corrupted) · gradient over the site. Nanda 2023,
 * https://www.neelnanda.io/mechanistic-interpretability/attribution-patching; Syed et al. 2023,
 * https://arxiv.org/abs/2310.10348.
 *
 * It is exact where the metric is linear in the activation, and coarse where it saturates (softmax, layer norm): check
 * the sites that matter with `patch`.
 *
 * @param options as for `patchSweep`, without those of its passes
 * @returns the same grid as `patchSweep`, with estimated values
 * @throws UsageError as `patchSweep`; Florence2Error if the backend lacks a gradient (see `gradientsAt`)
 */
export async function attributionPatch(model: Florence2, options: PatchSubject & SweepPlan): Promise<PatchGrid> {
  const { batchSize, onProgress, signal, ...PLAN } = SWEEP;
  checkOptions('attributionPatch', options, { ...SUBJECT, ...PLAN });
  const { clean, corrupted, metric, ...plan } = options;
  const call = model.withAdapter();
  const [there, here] = [new ActivationCache(), new ActivationCache()];
  let gradients: ActivationCache | undefined;
  try {
    const { value } = await survey(call, clean, plan, metric, { cache: there });
    const before = await survey(call, corrupted, plan, metric, { answer: clean, cache: here });
    checkLengths(options, there.names);
    const { sites, ...grid } = planGrid(call, corrupted, plan, before.shapes);
    const slopes = gradientsAt(call, corrupted, logits => metric(logits, clean), here.names);
    gradients = slopes;
    const effects = call.tidy(() => {
      const products = new Map(here.names.map(at => [at, effectAt(at, there, here, slopes)] as const));
      const effectOf = (site: (typeof sites)[number]) => {
        const product = products.get(site.at)!;
        return tf.sum(tf.mul(product, siteMask(call.config.vision, [site], { name: site.at }, product.shape)));
      };
      return tf.stack(sites.map(effectOf)); // [sites]
    });
    const { values } = await download(effects);
    return { ...grid, values: values.map(effect => before.value + effect), clean: value, corrupted: before.value };
  } finally {
    for (const cache of [there, here, gradients]) cache?.dispose();
  }
}

/** Returns (clean − corrupted) · gradient at a point, in the activation's shape. */
function effectAt(at: string, clean: ActivationCache, corrupted: ActivationCache, gradients: ActivationCache) {
  return tf.mul(tf.sub(clean.get(at), corrupted.get(at)), gradients.get(at));
}
