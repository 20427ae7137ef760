import { join } from 'node:path';
import { copyLora, createLora, type Lora, type LoraOptions } from '../adapters/lora.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import type { Parameter } from '../nn/params.ts';
import { MapCache } from './map_cache.ts';
import { AdamW, decaysByDefault } from './optimizer.ts';
import type { TrainerSettings } from './options.ts';
import { trainableParameters, untrainable } from './trainable.ts';

/** Everything that the steps of a run share. */
export interface TrainingContext {
  /** The model with the adapter that is trained, or without adapters. */
  florence: Florence2;
  settings: TrainerSettings;
  /** The adapter that is trained; null in full fine-tuning. */
  lora: Lora | null;
  trainable: readonly Parameter[];
  optimizer: AdamW;
  maps: MapCache;
  /** Whether part of the vision tower is trained. */
  visionLearns: boolean;
}

/** Name of the adapter that a run trains. */
export const ADAPTER = 'training';

/**
 * Builds the context of a run. Adds the adapter to the model if LoRA is trained.
 *
 * @throws UsageError if an option names nothing in the model, or the backend cannot train a parameter
 */
export function trainingContext(florence: Florence2, settings: TrainerSettings): TrainingContext {
  const lora = settings.lora ? addAdapter(florence, settings) : null;
  const trainable = lora?.parameters ?? ownParameters(florence, settings);
  const visionLearns = trainable.some(({ name }) => name.startsWith('vision_tower.'));
  const { decay, output, augment, featureCache, featureCacheBytes } = settings;
  const byName = ({ name }: Parameter): boolean => name.search(decay as RegExp) >= 0;
  const decays = decay === 'all' ? () => true : decay === 'matrices' ? decaysByDefault : byName;
  const store = visionLearns || augment ? 'off' : featureCache;
  return {
    ...{ florence: florence.withAdapter(lora && ADAPTER), settings, lora, trainable, visionLearns },
    optimizer: new AdamW({ ...settings, decays }),
    maps: new MapCache(store, join(output, 'maps'), featureCacheBytes, settings.onWarning),
  };
}

/** Builds the adapter to train, and adds it to the model. */
function addAdapter(florence: Florence2, settings: TrainerSettings): Lora {
  const { model, adapters, backend } = florence;
  const { lora: given } = settings;
  const lora =
    typeof given === 'string'
      ? model.compute(() => copyLora(model, adapters.get(given)))
      : newAdapter(model, given, settings);
  try {
    checkBackend(lora.parameters, backend.name);
    adapters.add(ADAPTER, lora);
    return lora;
  } catch (error) {
    lora.dispose();
    throw error;
  }
}

/** Returns a new adapter. With new tokens, it also trains the embedding table (and an untied head). */
function newAdapter(
  model: Florence2Model,
  options: LoraOptions | undefined,
  { seed, newTokens }: TrainerSettings,
): Lora {
  const { lmHead, languageModel } = model;
  const tables = [languageModel.shared.weight, ...[languageModel.answers.weight, lmHead.weight].filter(({ loaded }) => loaded)]
    .map(({ name }) => name.slice(0, -'.weight'.length)); // biome-ignore format: one line
  const modulesToSave = [...(options?.modulesToSave ?? []), ...(newTokens ? tables : [])];
  return createLora(model, { seed, ...options, modulesToSave });
}

function ownParameters({ model, adapters, backend }: Florence2, { freeze, newTokens }: TrainerSettings): Parameter[] {
  if (adapters.active.length > 0) {
    throw new UsageError(
      `The adapter ${adapters.active[0]} is active: merge it (mergeAndUnload) or remove it before training the model's own parameters.`,
    );
  }
  const trainable = trainableParameters(model, freeze);
  if (newTokens && !trainable.includes(model.languageModel.shared.weight)) {
    throw new UsageError('newTokens needs language_model.shared to be trained, but freeze includes it.');
  }
  checkBackend(trainable, backend.name);
  adapters.calibration = null; // it fits the parameters before training
  return trainable;
}

function checkBackend(trainable: readonly Parameter[], backend: string): void {
  const found = untrainable(trainable, backend);
  if (!found) return;
  throw new UsageError(
    `The ${backend} backend cannot train ${found.name}: ${found.reason}. Train a LoRA adapter of the language model there, or use tensorflow, webgpu or cpu.`,
  );
}
