import { join } from 'node:path';
import { createLora, type Lora } from '../adapters/lora.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import type { Parameter } from '../nn/params.ts';
import { MapCache } from './map_cache.ts';
import { AdamW, decaysByDefault } from './optimizer.ts';
import type { TrainerSettings } from './options.ts';
import { trainableParameters, untrainable } from './trainable.ts';

/** What the steps of a run work on. */
export interface TrainingContext {
  florence: Florence2;
  settings: TrainerSettings;
  /** The adapter that is trained, if one is. */
  lora: Lora | null;
  trainable: readonly Parameter[];
  optimizer: AdamW;
  maps: MapCache;
  /** Whether the vision tower is run backward. */
  visionLearns: boolean;
}

/** Name of the adapter that a run trains. */
export const ADAPTER = 'training';

/** @throws UsageError for what names nothing in the model, or cannot be trained on its backend */
export function trainingContext(florence: Florence2, settings: TrainerSettings): TrainingContext {
  const lora = settings.lora ? addAdapter(florence, settings) : null;
  const trainable = lora?.parameters ?? ownParameters(florence, settings);
  const visionLearns = trainable.some(({ name }) => name.startsWith('vision_tower.'));
  const { decay, output, augment, featureCache, featureCacheBytes } = settings;
  const byName = ({ name }: Parameter): boolean => name.search(decay as RegExp) >= 0;
  const decays = decay === 'all' ? () => true : decay === 'matrices' ? decaysByDefault : byName;
  const store = visionLearns || augment ? 'off' : featureCache;
  return {
    ...{ florence, settings, lora, trainable, visionLearns },
    optimizer: new AdamW({ ...settings, decays }),
    maps: new MapCache(store, join(output, 'maps'), featureCacheBytes),
  };
}

/** Builds the adapter that is trained. New tokens can be learnt only where the embeddings are trained with it. */
function addAdapter(florence: Florence2, { lora: options, seed, newTokens }: TrainerSettings): Lora {
  const { model, adapters, backend } = florence;
  const tables = model.lmHead.weight.loaded ? ['language_model.shared', 'lm_head'] : ['language_model.shared'];
  const modulesToSave = [...(options?.modulesToSave ?? []), ...(newTokens ? tables : [])];
  const lora = createLora(model, { seed, ...options, modulesToSave });
  try {
    checkBackend(lora.parameters, backend.name);
    adapters.add(ADAPTER, lora);
    return lora;
  } catch (error) {
    lora.dispose();
    throw error;
  }
}

function ownParameters({ model, adapters, backend }: Florence2, { freeze, newTokens }: TrainerSettings): Parameter[] {
  if (adapters.active.length > 0) {
    throw new UsageError(
      `The adapter ${adapters.active[0]} is active: merge it for good (mergeAndUnload) or remove it before the model itself is trained.`,
    );
  }
  const trainable = trainableParameters(model, freeze);
  if (newTokens && !trainable.includes(model.languageModel.shared.weight)) {
    throw new UsageError('newTokens would learn nothing, since language_model.shared is frozen.');
  }
  checkBackend(trainable, backend.name);
  return trainable;
}

function checkBackend(trainable: readonly Parameter[], backend: string): void {
  const found = untrainable(trainable, backend);
  if (!found) return;
  throw new UsageError(
    `The ${backend} backend cannot train ${found.name}: ${found.reason}. Train a LoRA adapter of the language model there, or use tensorflow, webgpu or cpu.`,
  );
}
